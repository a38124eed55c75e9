"""The port through which the engine sends mails, and the values that cross it."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol
from uuid import UUID

from mailtopic_contract import Address
from mailtopic_sender.domain.replies import ReplyClass


@dataclass(frozen=True, slots=True)
class OutgoingMail:
    """One mail to one recipient, decoded and unsealed, ready to be rendered and sent.

    Everything in the message derives from these fields, so the same mail sent again has the same
    bytes. The repr shows neither the recipient nor the variables: they hold codes.

    Attributes:
        mail_id: the mail's identity; its Message-ID derives from it.
        recipient: the only recipient.
        purpose: selects the template, e.g. ``signup``.
        locale: the requested language, e.g. ``ru`` or ``ru-RU``.
        variables: the values of the template's placeholders.
        accepted_at_ms: when the mail was accepted, epoch milliseconds; becomes ``Date``.
        expires_at_ms: when the mail becomes worthless, epoch milliseconds.
    """

    mail_id: UUID
    recipient: Address = field(repr=False)
    purpose: str
    locale: str
    variables: Mapping[str, str] = field(repr=False)
    accepted_at_ms: int
    expires_at_ms: int


class DeliveryResult(NamedTuple):
    """The result of one attempt.

    Attributes:
        reply_class: the basis of the engine's decisions.
        relay: the name of the last relay that was tried.
        phase: how far the attempt came: ``connect``, ``ehlo``, ``tls``, ``auth``, ``mail``,
            ``rcpt``, ``data``, ``body`` (the final dot's reply), ``local`` (decided without
            traffic).
        smtp: basic and enhanced code, e.g. ``451 4.7.1``; None if there was no reply.
        retry_after_s: the pause that the reply asked for, seconds; None if none.
        connect_s: time spent waiting for a connection, seconds, without waiting for the relay's
            rate limit.
        transmit_s: time from MAIL to the last reply, seconds.
        wait_s: time from the record's reception to this attempt, seconds; set by the engine.
        detail: the reply in at most 200 characters, without addresses and codes.
    """

    reply_class: ReplyClass
    relay: str
    phase: str
    smtp: str | None = None
    retry_after_s: float | None = None
    connect_s: float = 0.0
    transmit_s: float = 0.0
    wait_s: float = 0.0
    detail: str = ""


class Withdrawn(Exception):  # noqa: N818 - named after the event
    """The mail was no longer wanted before it was offered to a relay: it was not sent."""


class Ticket(Protocol):
    """Accompanies an offered mail: says whether it is still wanted, and takes its result."""

    def is_wanted(self) -> bool:
        """Whether the mail may still be sent; called right before it is offered to a relay.

        A mail that was begun is still finished.
        """
        ...

    def told(self, result: DeliveryResult | None) -> None:
        """Take the result; None: the mail wasn't sent, because it was no longer wanted.

        Called once. Must not raise.
        """
        ...


def always() -> bool:
    """Return True: the mail is always wanted."""
    return True


class Mailer(Protocol):
    """Sends mails through the configured relays.

    It promises neither order between mails, nor that a mail is transmitted only once: a reply lost
    after the final dot is `ReplyClass.UNKNOWN`, and the caller decides whether to send again. It
    never waits for an unreachable relay; it does wait for a relay's pace.
    """

    @property
    def is_available(self) -> bool:
        """Whether at least one relay is worth trying now. A hint, not a promise."""
        ...

    async def start(self) -> None:
        """Get ready to send. Doesn't wait for a relay and doesn't need one."""
        ...

    def set_share(self, share: float) -> None:
        """Set this process's share of the relays' rate limits, 0 to 1; 1 until then.

        All processes' shares together must not be above 1. With 0, mails wait until they aren't
        wanted any more or the share grows; relays without a rate limit aren't affected.
        """
        ...

    def offer(self, mail: OutgoingMail, ticket: Ticket, *, is_fresh: bool = True) -> None:
        """Send one mail once, through the first relay that takes it soon.

        Until the mail is offered to a relay, it holds only its place in a queue. After a relay that
        can't be used or doesn't support it, or that refuses it for the sender's reputation, the
        next one is tried; a relay that says "too fast" gets it again, at its own pace. The ticket
        gets the result, never before this returns. It is checked from time to time whether the mail
        is still wanted; soon after it isn't, the ticket gets None.

        Args:
            mail: what to send.
            ticket: belongs to this mail only.
            is_fresh: whether this is a first attempt; those and others alternate.

        Raises:
            mailtopic_sender.domain.templates.TemplateError: the mail can't be rendered.
        """
        ...

    def recall(self) -> None:
        """Check the tickets of all waiting mails now, and end those that aren't wanted any more."""
        ...

    async def wait_available(self) -> None:
        """Return when at least one relay may be tried again; at once if one may be now."""
        ...

    async def close(self) -> None:
        """Close every connection. Tickets of mails that wait or are under way get their results."""
        ...


class _Awaited:
    """The ticket of a mail whose result a task waits for."""

    def __init__(self, is_wanted: Callable[[], bool]) -> None:
        self.result: asyncio.Future[DeliveryResult | None] = (
            asyncio.get_running_loop().create_future()
        )
        self._is_wanted = is_wanted

    def is_wanted(self) -> bool:
        return not self.result.done() and self._is_wanted()

    def told(self, result: DeliveryResult | None) -> None:
        if not self.result.done():
            self.result.set_result(result)


async def send(
    mailer: Mailer, mail: OutgoingMail, *, is_wanted: Callable[[], bool] = always
) -> DeliveryResult:
    """Offer a mail and wait for its result; it alternates with first attempts.

    If cancelled before the mail is offered to a relay, it isn't sent; later, its fate is unknown.

    Raises:
        Withdrawn: is_wanted returned False before the mail was offered to a relay.
        mailtopic_sender.domain.templates.TemplateError: the mail can't be rendered.
    """
    ticket = _Awaited(is_wanted)
    mailer.offer(mail, ticket, is_fresh=False)
    result = await ticket.result
    if result is None:
        raise Withdrawn
    return result
