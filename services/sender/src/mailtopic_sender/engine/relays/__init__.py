"""Which relay sends a mail, and when: order, fallback, breaker and pace. No SMTP in here."""
