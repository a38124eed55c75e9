"""Panels that several dashboards share."""

from grafana_foundation_sdk.models import dashboard as models

from mailtopic_observability.dashboards.panels import About, Query, lines
from mailtopic_observability.dashboards.queries import TOPIC, parts


def dead_letters() -> models.Panel:
    """Return the panel of dead letters by reason."""
    return lines(
        About(
            "Dead letters by reason",
            "suffix:records/s",
            "Why records went into the DLQ. `mailtopic dlq list` shows them.",
            ("MailTopicDeadLettersGrowing",),
        ),
        Query(
            parts("mailtopic_dead_letters_total", TOPIC, "reason"),
            "{{reason}}",
        ),
        width=8,
        stacked=True,
        as_bars=True,
    )
