"""The MailTopic operator: one resource owns everything that a stream of mail needs."""
