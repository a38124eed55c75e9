"""`mailtopic relay check`: can the relays be used, and does the DNS vouch for the mails."""
