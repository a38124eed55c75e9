"""The sender's ports on real clients, and the shipped fakes."""
