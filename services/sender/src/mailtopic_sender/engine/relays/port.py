"""The port to one relay, and the values that cross it."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from mailtopic_runtime import Span
from mailtopic_sender.domain.message import Message
from mailtopic_sender.engine.relays.breaker import Admission
from mailtopic_sender.mail_ports import DeliveryResult, OutgoingMail, Ticket


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """The limits in the settings.

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
        ticket: says whether the mail is still wanted, and takes its result.
        span: the recorded span of the mail's attempt; None if its trace isn't sampled.
        is_fresh: a first attempt, as opposed to one that has waited before.
        offered_at_s: when it was put into this relay's queue, monotonic seconds.
        begun_at_s: when the relay took it from the queue.
        admission: the admission by this relay's breaker.
        refusals: how often this relay refused it for pace; own_refusals: how many of these say
            nothing about other mails.
        closings: how often a connection ended before this relay processed it.
        tried: the names of the relays that have given a result for it.
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
    """A mail's place in its connection.

    Attributes:
        number: which mail of its connection it was, from 1.
        is_used: whether the connection had served a mail or been idle before, so that it may have
            ended for an unrelated reason.
        has_ended: whether the connection ended with it.
    """

    number: int
    is_used: bool = False
    has_ended: bool = False


class Feed(Protocol):
    """Gives a relay its mails, and takes their results. Nothing here blocks or raises.

    Each offer that was pulled is reported exactly once: by `answered`, `unheard` or `unsent`.
    """

    def pull(self) -> Offer | None:
        """Return the next mail, to be transmitted at once; None: none may go now."""
        ...

    @property
    def has_mails(self) -> bool:
        """Whether a mail waits that could be pulled now or soon."""
        ...

    def answered(self, offer: Offer, result: DeliveryResult, place: Place) -> None:
        """Report the relay's reply to a mail, or that its fate is unknown."""
        ...

    def unheard(self, offer: Offer, result: DeliveryResult, place: Place) -> None:
        """Report that a connection ended before the relay had processed this mail.

        `result` says how it ended. Nothing can have been accepted.
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
        """Report that the relay accepts no connection beyond this many open ones."""
        ...


class Relay(Protocol):
    """One way out: takes rendered messages and reports each one's result.

    An SMTP server is one kind. Another kind, such as a provider's HTTP API, has to promise this:

    - It pulls a mail only when it can transmit it at once, and doesn't hold it back after that.
    - It reports each mail once, with one `ReplyClass` that says what a caller may conclude:
      ACCEPTED only after the relay has explicitly taken responsibility; UNKNOWN if it may have
      accepted the mail and the reply was lost; THROTTLED for "too fast"; AUTH, POLICY, QUOTA and
      TRANSPORT if any other mail would have failed as well.
    - `unheard` only if the relay can't have accepted the mail: it is sent again at once.
    - A mail's bytes are passed on unchanged: they include Message-ID, Date and DKIM signature.
    - Its reports hold no address and no code from a reply.

    It decides nothing about other relays, other attempts, or how fast mails come.
    """

    @property
    def name(self) -> str:
        """Its name in settings, logs, metrics and status events."""
        ...

    @property
    def limits(self) -> RelayLimits:
        """What the settings allow."""
        ...

    @property
    def connections(self) -> Connections:
        """How many connections there are; thread-safe."""
        ...

    def attach(self, feed: Feed) -> None:
        """Set the source of the mails; called once, before anything else."""
        ...

    def limit(self, *, connections: int, mails_per_connection: int) -> None:
        """Use no more connections at once, and no more mails on each, from now on."""
        ...

    def wake(self, mails: int) -> None:
        """Allow this many mails to be pulled now. Must not pull before this returns, nor block."""
        ...

    @property
    def login_problem(self) -> str | None:
        """Why there are no credentials to log in with, as text; None otherwise."""
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
