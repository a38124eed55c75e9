"""Links to runbooks: one page for each alert, docs/runbooks/<Alert>.md."""

from typing import Final

RUNBOOKS_URL: Final = "https://mailtopic.dev/docs/runbooks"
"""The base of links in generated files; the chart's `monitoring.runbooksUrl` replaces it."""


def runbook_url(alert: str) -> str:
    """Return the link to an alert's runbook."""
    return f"{RUNBOOKS_URL}/{alert}.md"
