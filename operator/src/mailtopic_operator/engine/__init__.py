"""Reconciling: what changed is queued, observed in batches, planned, done and reported."""
