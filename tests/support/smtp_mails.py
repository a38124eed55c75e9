"""Mails to send and a mailer to send them with, for tests of the SMTP side."""

import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from mailtopic_contract import parse_address
from mailtopic_sender.adapters.smtp_relay import SmtpRelay
from mailtopic_sender.adapters.smtp_settings import RelaySettings
from mailtopic_sender.domain.message import MessageComposer
from mailtopic_sender.domain.templates import Template, TemplateSet
from mailtopic_sender.engine.relays.backoff import Backoff
from mailtopic_sender.engine.relays.mailer import RelayMailer
from mailtopic_sender.engine.relays.patience import Patience
from mailtopic_sender.engine.relays.port import Relay
from mailtopic_sender.mail_ports import DeliveryResult, OutgoingMail, always, send

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


class SendingMailer(RelayMailer):
    """A mailer by which a test sends single mails."""

    async def send(
        self, mail: OutgoingMail, *, is_wanted: Callable[[], bool] = always
    ) -> DeliveryResult:
        return await send(self, mail, is_wanted=is_wanted)


@asynccontextmanager
async def mailer_to(
    *relays: RelaySettings | Relay,
    template: Template | None = None,
    composed_by: MessageComposer | None = None,
    start: bool = False,
    patience: Patience | None = None,
    refused_login_s: float = 0.05,
) -> AsyncIterator[SendingMailer]:
    """A mailer with fast probes; not started by default, so that connections can be counted."""
    opened = [SmtpRelay(one) if isinstance(one, RelaySettings) else one for one in relays]
    backoff = replace(FAST, refused_login_steps_s=(refused_login_s,))
    mailer = SendingMailer(
        opened, composed_by or composer(template), backoff=backoff, patience=patience
    )
    if start:
        await mailer.start()
    try:
        yield mailer
    finally:
        await mailer.close()
