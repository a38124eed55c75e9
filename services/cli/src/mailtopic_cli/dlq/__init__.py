"""`mailtopic dlq`: look at dead letters without seeing a code, and give mails another attempt."""
