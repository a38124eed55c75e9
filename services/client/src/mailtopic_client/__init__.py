"""Publish a mail from any service: MailSender over a BrokerClient."""
