"""The inputs and results of a relay's pace. Facts only; nothing is judged here."""

from collections.abc import Hashable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from mailtopic_sender.domain.replies import ReplyClass


class RefusalKind(StrEnum):
    """The kind of a refusal, by its text and codes."""

    PACE = "pace"
    """Too much, too fast or too many."""
    CLOSING = "closing"
    """The relay ends the connection, without mentioning pace."""
    PASSING = "passing"
    """Another temporary refusal, which may be caused by load."""
    MAIL = "mail"
    """About this mail or its recipient: the relay itself works."""

    @classmethod
    def of(cls, reply_class: ReplyClass, phase: str) -> "RefusalKind":
        """Return the kind of a reply that isn't ACCEPTED, by its class and phase.

        Replies that blame the relay, such as a used up quota, are handled by the breaker, not by
        the pace. A temporary refusal at MAIL isn't about the recipient, which hasn't been sent yet.
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
    """The connection is used up: the mail may use another one at once; no attempt is used up."""
    MAIL = "mail"
    """Only this mail was refused; others may continue as before."""


@dataclass(frozen=True, slots=True)
class PaceBounds:
    """Upper bounds from the settings; learned limits stay below them.

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
    """The limits of a relay that one process has met; None for those it hasn't.

    Attributes:
        rate_per_s: mails a second that the relay accepts from this process.
        connections: how many it allows this process at once.
        mails_per_connection: how many it accepts on one connection.
    """

    rate_per_s: float | None = None
    connections: int | None = None
    mails_per_connection: int | None = None


class Refusal(NamedTuple):
    """A mail that the relay refused, in any phase from MAIL on.

    Attributes:
        began_at_s: when the mail was begun, monotonic seconds.
        mails_on_connection: mails offered on this connection before this one.
        connections_open: of this process, this one included.
        closes: whether the relay ends the connection with it.
        asked_pause_s: the pause that the relay asks for, seconds; 0 if none.
        recipient: a key of the recipient, such as a hash; None if it isn't known.
    """

    kind: RefusalKind
    began_at_s: float
    mails_on_connection: int = 0
    connections_open: int = 1
    closes: bool = False
    asked_pause_s: float = 0.0
    recipient: Hashable = None
