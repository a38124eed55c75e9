"""The consumer group that delivers mails by SMTP."""
