"""The sender's rules about mails, replies and time. Pure: no I/O, no client library."""
