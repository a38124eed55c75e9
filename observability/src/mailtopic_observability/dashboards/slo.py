"""The promise as dashboards show it: recorded, so that it follows the objective in the chart."""

from typing import Final

from mailtopic_observability.dashboards.colors import BAD, GOOD, WORSE
from mailtopic_observability.dashboards.panels import Query, Steps
from mailtopic_observability.dashboards.queries import TOPIC, or_zero

BURN_STEPS: Final[Steps] = ((None, GOOD), (1.0, WORSE), (14.4, BAD))
"""1 uses the budget up in the whole window of 30 days; 14.4 in two (SRE Workbook, chapter 5)."""

OBJECTIVE: Final = Query("max(mailtopic:delivery_slo:threshold_seconds)", "objective")
"""Within how many seconds a mail is to be delivered."""

LAG_LIMIT: Final = Query("max(mailtopic:lag_seconds:limit)", "limit")
"""Above which lag an alert fires."""

_LEFT: Final = f"mailtopic:delivery_slo_budget:remaining30d{{{TOPIC}}}"

LEAST_LEFT: Final = f"min({_LEFT}) or vector(1)"
"""What is left of the error budget, of the topic with the least; all of it before any mail."""

LEFT: Final = f'{_LEFT} or on() label_replace(vector(1), "topic", "no mail yet", "", "")'
"""What is left of each topic's error budget."""


def burn(window: str) -> Query:
    """Return how many times too fast the budget is used up, of the worst topic."""
    return Query(or_zero(f"max(mailtopic:delivery_slo_burn:rate{window}{{{TOPIC}}})"), window)
