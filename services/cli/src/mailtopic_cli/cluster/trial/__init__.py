"""MailTopic installed into the local cluster, with ports that lead to it."""
