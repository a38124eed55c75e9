"""The port to one relay, and the values that cross it."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from mailtopic_runtime import Span
from mailtopic_sender.domain.message import Message
from mailtopic_sender.engine.relays.breaker import Admission
from mailtopic_sender.mail_ports import DeliveryResult, OutgoingMail, Ticket


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """What the settings allow at most.

    Attributes:
        rate_per_s: mails a second of all processes together; None: no limit is set.
        connections: at once, from one process.
        mails_per_connection: then a connection is replaced.
    """

    rate_per_s: float | None = None
    connections: int = 10
    mails_per_connection: int = 100


class Connections(NamedTuple):
    """Counts of connections; `limit` is how many may be used now."""

    busy: int
    idle: int
    limit: int


@dataclass(slots=True, eq=False)
class Offer:
    """A mail that waits for a relay, or that a relay is being offered.

    Attributes:
        mail: what it is made of.
        message: its rendered form, the same bytes for every relay.
        ticket: asked whether the mail is still wanted, and told what became of it.
        span: the recorded span of the mail's attempt; None if its trace isn't sampled.
        is_fresh: a first attempt, as opposed to one that has waited before.
        offered_at_s: when it was put into this relay's queue, monotonic seconds.
        begun_at_s: when the relay took it from the queue.
        admission: what this relay's breaker let it in by.
        refusals: how often this relay refused it for pace; own_refusals: how many of them said
            nothing of other mails.
        closings: how often a connection ended before this relay had looked at it.
        tried: the names of the relays that have decided on it.
        declined, throttled, blamed: their last results of these three kinds.
    """

    mail: OutgoingMail
    message: Message
    ticket: Ticket
    span: Span | None = None
    is_fresh: bool = True
    offered_at_s: float = 0.0
    begun_at_s: float = 0.0
    admission: Admission | None = None
    refusals: int = 0
    own_refusals: int = 0
    closings: int = 0
    tried: tuple[str, ...] = ()
    declined: DeliveryResult | None = None
    throttled: DeliveryResult | None = None
    blamed: DeliveryResult | None = None


class Place(NamedTuple):
    """Where a mail met the relay.

    Attributes:
        number: which mail of its connection it was, from 1.
        is_used: whether the connection had served a mail or lain idle before, so that it may have
            ended for reasons of its own.
        has_ended: whether the connection ended with it.
    """

    number: int
    is_used: bool = False
    has_ended: bool = False


class Feed(Protocol):
    """Where a relay gets its mails, and reports what became of them. Nothing here blocks or raises.

    Each offer that was pulled is reported exactly once: by `answered`, `unheard` or `unsent`.
    """

    def pull(self) -> Offer | None:
        """Return the next mail, which is to be transmitted at once; None: none may go now."""
        ...

    @property
    def has_mails(self) -> bool:
        """Whether a mail waits that could be pulled now or soon."""
        ...

    def answered(self, offer: Offer, result: DeliveryResult, place: Place) -> None:
        """Report the relay's answer to a mail, or that its fate is unknown."""
        ...

    def unheard(self, offer: Offer, result: DeliveryResult, place: Place) -> None:
        """Report that a connection ended before the relay had looked at this mail.

        `result` says how it ended. Nothing can have been taken.
        """
        ...

    def unsent(self, offer: Offer) -> None:
        """Report that a mail was pulled and never sent, through no fault of its own."""
        ...

    def connected(self) -> None:
        """Report that a connection was opened."""
        ...

    def refused(self, result: DeliveryResult) -> None:
        """Report that no connection could be opened, and why. The class blames the relay."""
        ...

    def is_full(self, connections: int) -> None:
        """Report that the relay takes no further connection beside so many that serve."""
        ...


class Relay(Protocol):
    """One way out: takes rendered messages and says what became of each.

    An SMTP server is one kind. Another kind, such as a provider's HTTP API, has to promise this:

    - It pulls a mail only when it can transmit it at once, and doesn't hold it back after that.
    - It reports each mail once, with one `ReplyClass` that says what a caller may conclude:
      ACCEPTED only after the relay has taken responsibility in words that it can be held to;
      UNKNOWN if it may have taken the mail and the answer was lost; THROTTLED for "too fast";
      AUTH, POLICY, QUOTA and TRANSPORT if no other mail would have fared better.
    - `unheard` only where the relay can't have taken the mail: it goes out again at once.
    - A mail's bytes are passed on as they are: Message-ID, Date and DKIM signature are in them.
    - What it reports of an answer holds no address and no code.

    It decides nothing about other relays, other attempts, or how fast mails come.
    """

    @property
    def name(self) -> str:
        """What settings, logs, metrics and status events call it."""
        ...

    @property
    def limits(self) -> RelayLimits:
        """What the settings allow."""
        ...

    @property
    def connections(self) -> Connections:
        """How many connections there are; any thread may ask."""
        ...

    def attach(self, feed: Feed) -> None:
        """Say where the mails come from; called once, before anything else."""
        ...

    def limit(self, *, connections: int, mails_per_connection: int) -> None:
        """Use no more connections at once, and no more mails on each, from now on."""
        ...

    def wake(self, mails: int) -> None:
        """So many mails may be pulled now. Must not pull before this returns, nor block."""
        ...

    @property
    def login_problem(self) -> str | None:
        """Why there are no credentials to log in with, in words; None otherwise."""
        ...

    async def probe(self) -> DeliveryResult | None:
        """Find out whether mails may be offered; returns None if so, else why not."""
        ...

    async def pause(self, pause_s: float) -> None:
        """Return after a pause, or sooner if a probe may do better than the last one."""
        ...

    async def close(self) -> None:
        """Close every connection; mails under way are reported as UNKNOWN or not at all."""
        ...
