"""What goes into the pace of a relay, and what comes out. Facts only; nothing is judged here."""

from collections.abc import Hashable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from mailtopic_sender.domain.replies import ReplyClass


class RefusalKind(StrEnum):
    """What a refusal said, by its words and codes."""

    PACE = "pace"
    """Too much, too fast or too many."""
    CLOSING = "closing"
    """The relay ends the connection, without a word about pace."""
    PASSING = "passing"
    """Another temporary refusal, which may come from load."""
    MAIL = "mail"
    """About this mail or its recipient: the relay did its work."""

    @classmethod
    def of(cls, reply_class: ReplyClass, phase: str) -> "RefusalKind":
        """Return the kind of a reply that isn't ACCEPTED, by its class and phase.

        What blames the relay, such as a used up allowance, is the breaker's affair, not the pace's.
        A temporary refusal at MAIL isn't about the recipient, which wasn't named yet.
        """
        if reply_class is ReplyClass.GREYLISTED and phase == "mail":
            return cls.PASSING
        return _KINDS.get(reply_class, cls.MAIL)


_KINDS = {
    ReplyClass.THROTTLED: RefusalKind.PACE,
    ReplyClass.CLOSING: RefusalKind.CLOSING,
    ReplyClass.TRANSIENT: RefusalKind.PASSING,
}


class Verdict(StrEnum):
    """What a refusal means for the mail that was refused."""

    PACE = "pace"
    """Too fast: the mail waits for its next turn; no attempt is used up."""
    CONNECTION = "connection"
    """The connection is used up: the mail may go at once on another one; no attempt is used up."""
    MAIL = "mail"
    """This mail alone was refused; others may go on as before."""


@dataclass(frozen=True, slots=True)
class PaceBounds:
    """Upper bounds from the settings; what is learned stays below them.

    Attributes:
        rate_per_s: mails a second of all processes together; None for no bound.
        max_connections: at once, from one process.
        mails_per_connection: then a connection is closed.
    """

    rate_per_s: float | None = None
    max_connections: int = 10
    mails_per_connection: int = 100


@dataclass(frozen=True, slots=True)
class Learned:
    """The limits of a relay as far as one process has met them; None for those it hasn't.

    Attributes:
        rate_per_s: mails a second that the relay takes from this process.
        connections: how many it allows this process at once.
        mails_per_connection: how many it takes on one connection.
    """

    rate_per_s: float | None = None
    connections: int | None = None
    mails_per_connection: int | None = None


class Refusal(NamedTuple):
    """A mail that the relay didn't take, in any phase from MAIL on.

    Attributes:
        began_at_s: when the mail was begun, monotonic seconds.
        mails_on_connection: mails offered on this connection before this one.
        connections_open: of this process, this one included.
        closes: whether the relay ends the connection with it.
        asked_pause_s: the pause that the relay asks for, seconds; 0 if it names none.
        recipient: a key of the recipient, such as a hash; None if it isn't known.
    """

    kind: RefusalKind
    began_at_s: float
    mails_on_connection: int = 0
    connections_open: int = 1
    closes: bool = False
    asked_pause_s: float = 0.0
    recipient: Hashable = None
