"""The port through which the engine sends mails, and the values that cross it."""

import asyncio
from collections.abc import Mapping
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
        is_final: False for a result of `Mailer.offer` after which `Mailer.send` has more to try:
            another relay, or the same one after a pause.
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
    is_final: bool = True


class Withdrawn(Exception):  # noqa: N818 - it says what happened
    """The mail's permit ended before any relay was offered the mail: it was not sent."""


class Offeror(Protocol):
    """Who has offered a mail: is asked whether to begin, and told what became of it."""

    def is_wanted(self) -> bool:
        """Whether the mail may still be begun; asked right before a relay hears of it."""
        ...

    def told(self, result: DeliveryResult | None) -> None:
        """Hear what became of the mail; None: it wasn't sent, or only half begun.

        Called once. Must not raise.
        """
        ...


class Permit(Protocol):
    """Whether a mail that waits for its turn may still be begun. What has begun is finished."""

    @property
    def holds(self) -> bool:
        """Whether it may be offered to a relay now."""
        ...

    async def ended(self) -> None:
        """Return when it ends. It may end unheard, too: then `holds` says so."""
        ...


class Always:
    """The permit that doesn't end."""

    holds = True

    async def ended(self) -> None:
        """Never return."""
        await asyncio.get_running_loop().create_future()


ALWAYS = Always()


class Mailer(Protocol):
    """Sends mails over the relays that are configured.

    `send` may be called by many tasks at once. It promises neither order between calls, nor that
    a mail is transmitted only once: a reply lost after the final dot is `ReplyClass.UNKNOWN`, and
    the caller decides whether to send again. It never waits for a relay to come back; it does wait
    for the rate that a relay allows.
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

        All processes' shares together must not be above 1. With 0, mails wait until their permit
        ends or the share grows; relays without a rate limit don't care.
        """
        ...

    async def send(
        self,
        mail: OutgoingMail,
        *,
        permit: Permit = ALWAYS,
        earlier: DeliveryResult | None = None,
    ) -> DeliveryResult:
        """Try one mail once (a stale or refused connection: once more on a fresh one).

        A relay that says "too fast" is given a pause and asked again, twice at most. Until a
        relay is offered the mail, the mail holds nothing but its place in a queue.

        Args:
            mail: what to send.
            permit: until when it may be begun.
            earlier: what `offer` got for it, if that wasn't final: this goes on from there.

        Never raises for a reply, a lost link, DNS, TLS or a refused login; CancelledError
        propagates, and whether the mail was sent then is unknown.

        Raises:
            Withdrawn: the permit ended, or the mail expired, while it waited; it was not sent.
            mailtopic_sender.domain.templates.TemplateError: the mail can't be rendered.
        """
        ...

    def offer(self, mail: OutgoingMail, offeror: Offeror) -> bool:
        """Take a mail that needs nothing but to be sent; returns whether it was taken.

        It costs a fraction of `send`, and does less: it is for when relays work and no limit
        holds anybody back. Taken, the offeror is told once what became of it, never before this
        returns. Told None, or a result that isn't final, it has to `send` the mail. After `close`
        it may never be told.

        Raises:
            mailtopic_sender.domain.templates.TemplateError: the mail can't be rendered.
        """
        ...

    async def wait_available(self) -> None:
        """Return when at least one relay may be tried again; at once if one may be now."""
        ...

    async def close(self) -> None:
        """Close every connection. Sends that still run may end as `ReplyClass.UNKNOWN`."""
        ...
