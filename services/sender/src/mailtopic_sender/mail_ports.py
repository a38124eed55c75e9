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
    """One mail to one recipient, decoded and opened, ready to be rendered and sent.

    Everything in the message derives from these fields, so the same mail sent again is the same
    bytes. The repr shows neither the recipient nor the variables: they hold codes.

    Attributes:
        mail_id: the mail's identity; its Message-ID derives from it.
        recipient: the only recipient.
        purpose: which template, e.g. ``signup``.
        locale: the language wanted, e.g. ``ru`` or ``ru-RU``.
        variables: what the template's placeholders stand for.
        accepted_at_ms: when the mail was accepted, epoch milliseconds; becomes ``Date``.
        expires_at_ms: after this, epoch milliseconds, the mail is worthless.
    """

    mail_id: UUID
    recipient: Address = field(repr=False)
    purpose: str
    locale: str
    variables: Mapping[str, str] = field(repr=False)
    accepted_at_ms: int
    expires_at_ms: int


class DeliveryResult(NamedTuple):
    """What became of one attempt.

    Attributes:
        reply_class: what the engine decides by.
        relay: the name of the relay that was tried last.
        phase: how far the attempt came: ``connect``, ``ehlo``, ``tls``, ``auth``, ``mail``,
            ``rcpt``, ``data``, ``body`` (the final dot's reply), ``local`` (decided without
            traffic).
        smtp: basic and enhanced code, e.g. ``451 4.7.1``; None if there was no reply.
        retry_after_s: the pause that the reply asked for, seconds; None if it named none.
        connect_s: time spent waiting for a connection, seconds; waiting for the relay's rate
            limit isn't in it.
        transmit_s: time from MAIL to the last reply, seconds.
        wait_s: time from the record's reception to this attempt, seconds; the engine's to tell.
        detail: the reply in at most 200 characters, addresses and codes taken out.
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
    """The mail was no longer wanted before any relay was offered it: it was not sent."""


class Ticket(Protocol):
    """What goes with a mail that is offered: asked before it is sent, told how it ended."""

    def is_wanted(self) -> bool:
        """Whether the mail may still be begun; asked right before a relay hears of it.

        What has begun is finished all the same.
        """
        ...

    def told(self, result: DeliveryResult | None) -> None:
        """Take the result; None: the mail wasn't sent, because it was no longer wanted.

        Called once. Must not raise.
        """
        ...


def always() -> bool:
    """Return True: the mail is wanted whatever happens."""
    return True


class Mailer(Protocol):
    """Sends mails over the relays that are configured.

    It promises neither order between mails, nor that a mail is transmitted only once: a reply lost
    after the final dot is `ReplyClass.UNKNOWN`, and the caller decides whether to send again. It
    never waits for a relay to come back; it does wait for the pace that a relay takes.
    """

    @property
    def is_available(self) -> bool:
        """Whether at least one relay is worth trying now. A hint, no promise."""
        ...

    async def start(self) -> None:
        """Get ready to send. Doesn't wait for a relay and doesn't need one."""
        ...

    def set_share(self, share: float) -> None:
        """Say which part of the relays' rate limits is this process's, 0 to 1; 1 until then.

        All processes' shares together must not be above 1. With 0, mails wait until they aren't
        wanted any more or the share grows; relays without a rate limit don't care.
        """
        ...

    def offer(self, mail: OutgoingMail, ticket: Ticket, *, is_fresh: bool = True) -> None:
        """Have one mail sent once, by the first relay that takes it soon.

        Until a relay is offered the mail, the mail holds nothing but its place in a queue. A relay
        that can't be used or can't carry it, or that refuses it for the sender's reputation, is
        followed by the next one; a relay that says "too fast" gets it again, at the pace that it
        takes. The ticket is told the result, never before this returns. It is asked from time to
        time whether the mail is still wanted, and told None soon after it isn't.

        Args:
            mail: what to send.
            ticket: asked and told about this mail alone.
            is_fresh: whether this is a first attempt; those and others take turns.

        Raises:
            mailtopic_sender.domain.templates.TemplateError: the mail can't be rendered.
        """
        ...

    def recall(self) -> None:
        """Ask the tickets of all waiting mails now, and tell those that aren't wanted any more."""
        ...

    async def wait_available(self) -> None:
        """Return when at least one relay may be tried again; at once if one may be now."""
        ...

    async def close(self) -> None:
        """Close every connection. Mails that wait or are under way are told how far they came."""
        ...


class _Awaited:
    """The ticket of a mail for whose result a task waits."""

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
    """Offer a mail and wait for its result; it takes turns with first attempts.

    Cancelled before a relay was offered the mail, it isn't sent; later, its fate is unknown.

    Raises:
        Withdrawn: is_wanted returned False before a relay was offered the mail.
        mailtopic_sender.domain.templates.TemplateError: the mail can't be rendered.
    """
    ticket = _Awaited(is_wanted)
    mailer.offer(mail, ticket, is_fresh=False)
    result = await ticket.result
    if result is None:
        raise Withdrawn
    return result
