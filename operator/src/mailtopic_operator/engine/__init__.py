"""Reconciling: changes are queued, observed in batches, planned, carried out and reported."""
