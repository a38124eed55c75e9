"""The signup API: confirms an e-mail address with a one-time code."""
