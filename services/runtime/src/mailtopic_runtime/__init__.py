"""What every MailTopic process does the same way: settings, logs, signals, probes."""
