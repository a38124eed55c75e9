"""`mailtopic relay check`: checks the relays and the DNS records of the sending domain."""
