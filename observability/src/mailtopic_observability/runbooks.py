"""Where runbooks are read: one page for each alert, docs/runbooks/<Alert>.md."""

from typing import Final

RUNBOOKS_URL: Final = "https://mailtopic.dev/docs/runbooks"
"""What links begin with in generated files; the chart's `monitoring.runbooksUrl` replaces it."""


def runbook_url(alert: str) -> str:
    """Return the link to an alert's runbook."""
    return f"{RUNBOOKS_URL}/{alert}.md"
