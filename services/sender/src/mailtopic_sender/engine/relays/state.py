"""The state of a relay for metrics and log lines."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from mailtopic_runtime import get_logger
from mailtopic_sender.domain.pace import Learned
from mailtopic_sender.domain.replies import ReplyClass
from mailtopic_sender.engine.relays.breaker import BreakerState
from mailtopic_sender.engine.relays.port import Connections

_SETTLED_S = 2.0


@dataclass(frozen=True, slots=True)
class RelayState:
    """The state of a relay.

    Attributes:
        relay: its name.
        rate_per_s: mails a second that the whole group may send to it; None: no limit is set.
        learned: the limits that were learned, for this process.
        waiting: mails in its queue.
        next_turn_s: before this time none of them may go, monotonic seconds.
        login_problem: why there is no token to log in with; None otherwise.
        replies: how many replies of each class it gave, to mails and to attempts to open a
            connection; a lost connection counts as the class that it means.
    """

    relay: str
    rate_per_s: float | None
    breaker: BreakerState
    connections: Connections
    replies: Mapping[ReplyClass, int]
    learned: Learned = field(default_factory=Learned)
    waiting: int = 0
    login_problem: str | None = None
    next_turn_s: float = float("-inf")

    def is_pausing(self, now_s: float) -> bool:
        """Whether all its waiting mails have to wait, for its pace or at its request."""
        return self.waiting > 0 and self.next_turn_s > now_s


class LearnedLog:
    """Logs a line when the learned limits of a relay have changed much, and stay so."""

    def __init__(self, relay: str) -> None:
        """Start with nothing learned."""
        self._log = get_logger("mailtopic_sender.relays").bind(relay=relay)
        self._shown = self._last = Learned()
        self._settled_since_s = 0.0

    def show(self, learned: Learned, now_s: float) -> None:
        """Log a line if this has differed much from the last line for some seconds.

        now_s is in monotonic seconds. While a limit is being found, it changes many times a second.
        """
        if _differs(learned, self._last):
            self._last = learned
            self._settled_since_s = now_s
        if now_s - self._settled_since_s < _SETTLED_S or not _differs(learned, self._shown):
            return
        self._shown = learned
        rate_per_s = learned.rate_per_s
        self._log.info(
            "relay.pace",
            rate_per_s=None if rate_per_s is None else round(rate_per_s, 2),
            connections=learned.connections,
            mails_per_connection=learned.mails_per_connection,
        )


def _differs(learned: Learned, before: Learned) -> bool:
    pairs = (
        (learned.rate_per_s, before.rate_per_s),
        (learned.connections, before.connections),
        (learned.mails_per_connection, before.mails_per_connection),
    )
    return any(_is_far(*pair) for pair in pairs)


def _is_far(now: float | None, before: float | None) -> bool:
    if now is None or before is None:
        return now is not before
    return not 2 / 3 < now / before < 3 / 2
