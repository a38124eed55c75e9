"""MailTopic installed into the local cluster, with port-forwards."""
