"""Mails of all kinds through servers that nobody here wrote: what arrives is what was sent."""

import dataclasses
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mailtopic_sender.domain.replies import ReplyClass
from mailtopic_sender.mail_ports import OutgoingMail
from support.conditions import until
from support.deliveries import WAYS, Way, raw_composer, raw_mail, titled_mail
from support.mail_servers.running import running
from support.mail_servers.server import DOMAIN, IDN_DOMAIN, Limits, relay
from support.smtp_mails import mail, mailer_to

LARGE_OCTETS = 300_000
BODIES: dict[str, bytes] = {
    "nothing": b"",
    "an empty line": b"\r\n",
    "many empty lines": b"\r\n" * 50,
    "a dot": b".\r\n",
    "dots": b".\r\n..\r\n...\r\n.x\r\n..x\r\nx.\r\n .\r\n",
    "dots around the end": b"\r\n.\r\n\r\n.\r\n.\r\n",
    "commands": b"RSET\r\nQUIT\r\nMAIL FROM:<a@example.org>\r\nDATA\r\n.\r\nRCPT TO:<b>\r\n",
    "the longest line": b"x" * 998 + b"\r\n",
    "the longest line of dots": b"." * 998 + b"\r\n",
    "octets above 127": bytes(range(128, 256)) + b"\r\n" + "Ваш код: 123456\r\n".encode(),
    "lines that begin mailboxes": b"From bob\r\n>From bob\r\n",
    "white space at the ends": b" x \r\n\tx\t\r\n \r\n",
    "as much as one write takes": b"\r\n".join([b".", b"x" * 70] * 600) + b"\r\n",
    "more than one write takes": (b"." * 70 + b"\r\n") * (LARGE_OCTETS // 72),
}


def mails(*, smtputf8: bool) -> Iterator[OutgoingMail]:
    """200 of them, each to somebody else."""
    bodies = list(BODIES.values())
    for number in range(100):
        yield raw_mail(f"raw{number}@{DOMAIN}", bodies[number % len(bodies)])
    for number in range(40):
        locale = ("ru", "en", "ru-RU", "de")[number % 4]
        yield dataclasses.replace(mail(f"User+{number}@{DOMAIN}"), locale=locale)
    for number in range(20):
        yield mail(f"user{number}@{IDN_DOMAIN}")
    for number in range(20):
        yield mail(f"иван{number}@{DOMAIN}" if smtputf8 else f"ivan{number}@{DOMAIN}")
    for number in range(20):
        subject = "Длинная тема " * number if number % 2 else "x" * number * 10
        yield titled_mail(f"titled{number}@{DOMAIN}", subject=subject, code="." * number)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize(
    ("name", "pipelining"),
    [
        ("aiosmtpd", False),
        ("postfix", True),
        ("postfix", False),
        ("exim", True),
        ("exim", False),
        ("opensmtpd", False),
    ],
)
async def test_what_arrives_is_what_was_sent(
    name: str, *, pipelining: bool, way: Way, tmp_path: Path, figure: Callable[[str], None]
) -> None:
    composer = raw_composer()
    sent = list(mails(smtputf8=name != "opensmtpd"))
    random.Random(1).shuffle(sent)  # noqa: S311 - repeatable on purpose
    async with running(name, tmp_path, Limits(pipelining=pipelining)) as server:
        # Each connection is worn out and replaced in the course of it.
        settings = relay(server, mails_per_connection=30)
        async with mailer_to(settings, composed_by=composer) as mailer:
            results = await way(mailer, sent)
        assert Counter(one.reply_class for one in results) == {ReplyClass.ACCEPTED: len(sent)}
        await until(
            lambda: len(server.stored()) >= len(sent), "all are in the mailbox", timeout_s=90
        )
        stored = server.stored()
    wanted = Counter((one.recipient.envelope, composer.content(one)) for one in sent)
    got = Counter((one.recipient, one.content) for one in stored)
    assert sorted(who for who, _ in (wanted - got)) == []
    assert sorted(who for who, _ in (got - wanted)) == []
    figure(f"{name}, pipelining {pipelining}: {len(stored)} mails")
