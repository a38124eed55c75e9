"""The few numbers that an installation can change.

Each is in one place of the generated files: the chart replaces it there, and everything else reads
the series. So the files work unchanged with the defaults, and need no templating language.
"""

from dataclasses import dataclass
from typing import Final

from mailtopic_observability.rules.model import Group, Recording

BOUNDS_S: Final = (1, 1.5, 2, 3, 5, 7.5, 10, 15, 30, 60, 120, 300, 600)
"""Bounds of mailtopic_delivery_seconds that may be the objective's threshold: only a bucket's bound
can be counted.
"""


@dataclass(frozen=True, slots=True)
class Parameters:
    """The objective and the alerts' limits.

    Attributes:
        objective: the share of mails to deliver in time, below 1.
        threshold_s: the limit for "in time"; one of BOUNDS_S.
        lag_limit_s: the age of the oldest waiting mail above which the alert fires.
        outbox_limit_s: the same for mails that wait for Kafka.
    """

    objective: float = 0.99
    threshold_s: float = 30
    lag_limit_s: int = 120
    outbox_limit_s: int = 60

    def __post_init__(self) -> None:
        """Validate the parameters.

        Raises:
            ValueError: a number is out of range.
        """
        if not 0 < self.objective < 1:
            raise ValueError("objective must lie between 0 and 1")
        if self.threshold_s not in BOUNDS_S:
            raise ValueError(f"threshold_s must be one of {BOUNDS_S}")
        if self.lag_limit_s <= 0 or self.outbox_limit_s <= 0:
            raise ValueError("limits must be above 0")

    @property
    def bucket(self) -> str:
        """A label matcher for the threshold's bucket: the client writes bounds as floats."""
        return f'le="{float(self.threshold_s)}"'


DEFAULTS: Final = Parameters()

OBJECTIVE: Final = "mailtopic:delivery_slo:objective"
THRESHOLD: Final = "mailtopic:delivery_slo:threshold_seconds"
LAG_LIMIT: Final = "mailtopic:lag_seconds:limit"
OUTBOX_LIMIT: Final = "mailtopic:outbox_oldest_seconds:limit"


def group(parameters: Parameters) -> Group:
    """Return the parameters as series, for alerts and dashboards."""
    return Group(
        "mailtopic-parameters",
        (
            Recording(
                OBJECTIVE,
                f"vector({parameters.objective:g})",
                "The share of mails that are to be delivered in time.",
            ),
            Recording(THRESHOLD, f"vector({parameters.threshold_s:g})", "What in time is."),
            Recording(
                LAG_LIMIT,
                f"vector({parameters.lag_limit_s})",
                "The lag above which MailTopicLagHigh fires.",
            ),
            Recording(
                OUTBOX_LIMIT,
                f"vector({parameters.outbox_limit_s})",
                "The age of the outbox above which MailTopicOutboxOld fires.",
            ),
        ),
    )
