"""Mails to send and a mailer to send them with, for tests of the SMTP side."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from mailtopic_contract import parse_address
from mailtopic_sender.adapters.smtp_breaker import Backoff
from mailtopic_sender.adapters.smtp_mailer import SmtpMailer
from mailtopic_sender.adapters.smtp_settings import RelaySettings
from mailtopic_sender.domain.message import MessageComposer
from mailtopic_sender.domain.templates import Template, TemplateSet
from mailtopic_sender.mail_ports import OutgoingMail

FAST = Backoff(
    steps_s=(0.02, 0.05),
    login_steps_s=(0.02, 0.05),
    refused_login_steps_s=(0.05,),
    quota_steps_s=(0.05,),
)


def composer(template: Template | None = None) -> MessageComposer:
    templates = TemplateSet({("signup", "ru"): template} if template else None)
    return MessageComposer(
        templates, from_name="MailTopic", from_address=parse_address("no-reply@example.com")
    )


def mail(to: str = "bob@example.org", *, code: str = "123456") -> OutgoingMail:
    return OutgoingMail(
        mail_id=uuid.uuid4(),
        recipient=parse_address(to),
        purpose="signup",
        locale="ru",
        variables={"code": code},
        accepted_at_ms=1_790_000_000_000,
        expires_at_ms=4_000_000_000_000,
    )


@asynccontextmanager
async def mailer_to(
    *relays: RelaySettings,
    template: Template | None = None,
    composed_by: MessageComposer | None = None,
    start: bool = False,
    brake_s: float = 0.05,
    refused_login_s: float = 0.05,
) -> AsyncIterator[SmtpMailer]:
    """A mailer with fast probes; not started unless told, so that connections can be counted."""
    composes = composed_by or composer(template)
    backoff = replace(FAST, refused_login_steps_s=(refused_login_s,))
    mailer = SmtpMailer(relays, composes, backoff=backoff, brake_s=brake_s)
    if start:
        await mailer.start()
    try:
        yield mailer
    finally:
        await mailer.close()
