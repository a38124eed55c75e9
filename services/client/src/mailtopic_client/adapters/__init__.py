"""Adapters of the client's ports."""
