"""How much a relay accepts, learned from its replies. Pure: time is an argument."""

from mailtopic_sender.domain.pace.facts import (
    Learned,
    PaceBounds,
    Refusal,
    RefusalKind,
    Verdict,
)
from mailtopic_sender.domain.pace.relay_pace import RelayPace

__all__ = ["Learned", "PaceBounds", "Refusal", "RefusalKind", "RelayPace", "Verdict"]
