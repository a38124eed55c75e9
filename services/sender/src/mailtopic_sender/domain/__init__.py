"""What the sender knows about mails, replies and time. Pure: no I/O, no client library."""
