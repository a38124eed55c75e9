"""How a mail waits that a relay refused because too many came."""

from dataclasses import dataclass

from mailtopic_sender.engine.relays.port import Offer


@dataclass(frozen=True, slots=True)
class Patience:
    """How a mail waits that a relay refused because too many came.

    Attributes:
        first_pause_s: the least wait after the first refusal; it doubles with each further one.
        longest_pause_s: its upper limit. If a relay asks for longer than longest_asked_s, the mail
            goes through a retry topic.
        refusals: after this many, it no longer waits here.
        own_refusals: the same for refusals that say nothing about other mails.
    """

    first_pause_s: float = 0.25
    longest_pause_s: float = 8.0
    longest_asked_s: float = 60.0
    refusals: int = 60
    own_refusals: int = 6

    def pause_s(self, refusals: int, asked_s: float | None) -> float:
        """Return how long a mail waits after this many refusals (from 1)."""
        own_s = self.first_pause_s * 2.0 ** min(refusals - 1, 10)
        return max(min(own_s, self.longest_pause_s), asked_s or 0.0)

    def is_over(self, offer: Offer, asked_s: float | None) -> bool:
        """Whether a mail that was refused once more shouldn't wait here any longer."""
        return (
            (asked_s or 0.0) > self.longest_asked_s
            or offer.refusals >= self.refusals
            or offer.own_refusals >= self.own_refusals
        )
