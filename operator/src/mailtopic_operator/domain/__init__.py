"""The operator's decisions: pure functions, no client, no event loop."""
