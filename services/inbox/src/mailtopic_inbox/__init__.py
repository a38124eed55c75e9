"""An SMTP server for development that keeps every mail and shows it on a page."""
