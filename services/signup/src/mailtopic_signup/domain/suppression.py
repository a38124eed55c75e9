"""Suppression: which recipients get no mail for a while, because their host refused them.

Mails to addresses that don't exist cost the sender's reputation at every large provider. Only
replies about the recipient count, never those about the sender or the content.
"""

from dataclasses import dataclass

from mailtopic_contract import Outcome
from mailtopic_signup.domain.challenge import DAY_MS

_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class SuppressionRule:
    """For how long a reply suppresses its recipient (milliseconds).

    Attributes:
        lasts_ms: how long no mail is sent.
        person_after_ms: how long even mails that a person requests are held back; after that they
            are sent, because addresses come back and people repair their mailbox and try again.
    """

    lasts_ms: int
    person_after_ms: int


RULES = {
    "hard_bounce": SuppressionRule(lasts_ms=30 * DAY_MS, person_after_ms=DAY_MS),
    "mailbox_full": SuppressionRule(lasts_ms=_HOUR_MS, person_after_ms=_HOUR_MS),
}
"""By the reply class of a bounced mail's event."""


def rule_of(outcome: Outcome, reply_class: str | None) -> SuppressionRule | None:
    """Return how long an outcome suppresses its recipient; None if it doesn't."""
    if outcome is not Outcome.BOUNCED or reply_class is None:
        return None
    return RULES.get(reply_class)
