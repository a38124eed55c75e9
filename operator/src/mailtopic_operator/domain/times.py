"""Times as Kubernetes writes them."""

from datetime import UTC, datetime


def timestamp(moment: datetime) -> str:
    """Return a time in UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
