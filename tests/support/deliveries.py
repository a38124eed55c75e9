"""Ways to send a sequence of mails: each must lead to the same outcomes."""

import asyncio
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Protocol
from uuid import UUID

from mailtopic_contract import Address, parse_address
from mailtopic_sender.domain.message import Message, MessageComposer
from mailtopic_sender.domain.templates import Template, TemplateSet
from mailtopic_sender.mail_ports import DeliveryResult, OutgoingMail
from support.smtp_mails import SendingMailer, mail


class Way(Protocol):
    """Sends mails and returns their outcomes, in the same order."""

    async def __call__(
        self, mailer: SendingMailer, mails: Sequence[OutgoingMail]
    ) -> list[DeliveryResult]: ...


async def one_call_each(
    mailer: SendingMailer, mails: Sequence[OutgoingMail]
) -> list[DeliveryResult]:
    """Concurrent calls of `send`, which share the pool."""
    return await asyncio.gather(*(mailer.send(one) for one in mails))


async def offered(mailer: SendingMailer, mails: Sequence[OutgoingMail]) -> list[DeliveryResult]:
    """All of them offered as first attempts, in one turn of the loop."""
    tickets = []
    for one in mails:
        tickets.append(_Ticket())
        mailer.offer(one, tickets[-1])
    return await asyncio.gather(*(ticket.result for ticket in tickets))


class _Ticket:
    """Wants its mail."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.result: asyncio.Future[DeliveryResult] = loop.create_future()

    def is_wanted(self) -> bool:
        return True

    def told(self, result: DeliveryResult | None) -> None:
        if result is None:
            self.result.cancel()
        else:
            self.result.set_result(result)


WAYS: Mapping[str, Way] = {"one call each": one_call_each, "offered": offered}

RAW = "raw"
"""A mail with this variable has it for its content, Latin-1, instead of a template's."""


class RawComposer(MessageComposer):
    """Composes mails of templates, and lets others through as they are."""

    def compose(
        self,
        *,
        mail_id: UUID,
        recipient: Address,
        purpose: str,
        locale: str,
        variables: Mapping[str, str],
        accepted_at_ms: int,
    ) -> Message:
        message = super().compose(
            mail_id=mail_id,
            recipient=recipient,
            purpose=purpose,
            locale=locale,
            variables={"code": "", "subject": ""} | dict(variables),
            accepted_at_ms=accepted_at_ms,
        )
        raw = variables.get(RAW)
        if raw is None:
            return message
        return message._replace(content=raw.encode("latin-1"))

    def content(self, one: OutgoingMail) -> bytes:
        """The message of a mail: the same bytes whenever it is composed."""
        return self.compose(
            mail_id=one.mail_id,
            recipient=one.recipient,
            purpose=one.purpose,
            locale=one.locale,
            variables=one.variables,
            accepted_at_ms=one.accepted_at_ms,
        ).content


def raw_composer() -> RawComposer:
    """The built-in templates, and one with a variable as its subject (purpose ``titled``)."""
    titled = Template("{subject}", "{code}", "<p>{code}</p>")
    return RawComposer(
        TemplateSet({("titled", "en"): titled}),
        from_name="MailTopic",
        from_address=parse_address("no-reply@example.com"),
    )


def raw_mail(recipient: str, body: bytes) -> OutgoingMail:
    """A mail with a small header and this body, every octet of it."""
    one = mail(recipient)
    header = (
        f"From: no-reply@example.com\r\nTo: <{recipient}>\r\nSubject: raw\r\n"
        f"Date: Mon, 21 Sep 2026 14:13:20 +0000\r\nMessage-ID: <{one.mail_id}@example.com>\r\n\r\n"
    )
    return dataclasses.replace(one, variables={RAW: (header.encode() + body).decode("latin-1")})


def titled_mail(recipient: str, *, subject: str, code: str = "123456") -> OutgoingMail:
    """A mail with a subject of its own."""
    return dataclasses.replace(
        mail(recipient),
        purpose="titled",
        locale="en",
        variables={"subject": subject, "code": code},
    )
