"""The port through which the engine sends mails, and the values that cross it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol
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


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """What became of one attempt.

    Attributes:
        reply_class: what the engine decides by.
        relay: the name of the relay that was tried last.
        phase: how far the attempt came: ``connect``, ``ehlo``, ``tls``, ``auth``, ``mail``,
            ``rcpt``, ``data``, ``body`` (the final dot's reply), ``local`` (decided without
            traffic).
        smtp: basic and enhanced code, e.g. ``451 4.7.1``; None if there was no reply.
        retry_after_s: the pause that the reply asked for, seconds; None if it named none.
        connect_s: time spent waiting for a connection, seconds.
        transmit_s: time from MAIL to the last reply, seconds.
        detail: the reply in at most 200 characters, addresses and codes taken out.
    """

    reply_class: ReplyClass
    relay: str
    phase: str
    smtp: str | None = None
    retry_after_s: float | None = None
    connect_s: float = 0.0
    transmit_s: float = 0.0
    detail: str = ""


class Mailer(Protocol):
    """Sends mails over the relays that are configured.

    `send` may be called by many tasks at once. It promises neither order between calls, nor that
    a mail is transmitted only once: a reply lost after the final dot is `ReplyClass.UNKNOWN`, and
    the caller decides whether to send again. It never waits for a relay to come back.
    """

    @property
    def is_available(self) -> bool:
        """Whether at least one relay is worth trying now. A hint, no promise."""
        ...

    async def start(self) -> None:
        """Get ready to send. Doesn't wait for a relay and doesn't need one."""
        ...

    async def send(self, mail: OutgoingMail) -> DeliveryResult:
        """Try one mail once (a stale or refused connection: once more on a fresh one).

        Never raises for a reply, a lost link, DNS, TLS or a refused login; CancelledError
        propagates, and whether the mail was sent then is unknown.

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
