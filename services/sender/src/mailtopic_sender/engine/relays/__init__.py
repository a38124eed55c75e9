"""Which relay a mail goes by, and when: order, fallback, breaker and pace. No SMTP in here."""
