"""The SLO on dashboards: from recorded series, so that it follows the chart's objective."""

from typing import Final

from mailtopic_observability.dashboards.colors import BAD, GOOD, WORSE
from mailtopic_observability.dashboards.panels import Query, Steps
from mailtopic_observability.dashboards.queries import TOPIC, or_zero

BURN_STEPS: Final[Steps] = ((None, GOOD), (1.0, WORSE), (14.4, BAD))
"""1 uses up the budget in the whole 30-day window; 14.4 in two days (SRE Workbook, chapter 5)."""

OBJECTIVE: Final = Query("max(mailtopic:delivery_slo:threshold_seconds)", "objective")
"""The seconds within which a mail should be delivered."""

LAG_LIMIT: Final = Query("max(mailtopic:lag_seconds:limit)", "limit")
"""The lag above which an alert fires."""

_LEFT: Final = f"mailtopic:delivery_slo_budget:remaining30d{{{TOPIC}}}"

LEAST_LEFT: Final = f"min({_LEFT}) or vector(1)"
"""The rest of the error budget, of the topic with the least; all of it before the first mail."""

LEFT: Final = f'{_LEFT} or on() label_replace(vector(1), "topic", "no mail yet", "", "")'
"""The rest of each topic's error budget."""


def burn(window: str) -> Query:
    """Return the burn rate of the worst topic."""
    return Query(or_zero(f"max(mailtopic:delivery_slo_burn:rate{window}{{{TOPIC}}})"), window)
