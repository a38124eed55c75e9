"""Templates of users and replies of relays, as any bytes."""

import asyncio
import html
import re
import time
from collections.abc import Callable, Iterator
from email import message_from_bytes
from email.message import Message
from email.policy import default
from uuid import UUID

import pytest

from mailtopic_contract import parse_address
from mailtopic_sender.adapters.smtp_link import LinkError, SmtpLink
from mailtopic_sender.adapters.smtp_reply import MAX_REPLY_OCTETS, SmtpReply
from mailtopic_sender.domain.message import MessageComposer
from mailtopic_sender.domain.replies import ReplyClass, classify
from mailtopic_sender.domain.reply_text import MAX_HINT_S, MAX_QUOTE, parse_retry_hint, redact
from mailtopic_sender.domain.templates import (
    ANY_PURPOSE,
    MAX_PART_BYTES,
    Template,
    TemplateError,
    TemplateSet,
)
from support.fuzzing import FUZZ_S, Targets, fuzz_target
from support.smtp_sessions import DeadEnd

_SLOWEST_S = 2.0
"""Processor time for one input of at most 20 kB; the usual is below a hundredth of it."""
_MAIL_ID = UUID("0b7e9a52-7d43-4f0e-9d8c-1f6b2a3c4d5e")
_FIELDS = {
    *("From", "Subject", "MIME-Version", "Content-Language", "Auto-Submitted"),
    *("X-Auto-Response-Suppress", "To", "Date", "Message-ID", "Content-Type"),
}
_BIGGEST = 1_000
"""Characters of variables; less doesn't become too large in a template of 20 kB."""
_PHASES = ("connect", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "body")
_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_LOOP = asyncio.new_event_loop()


def render(data: bytes) -> None:
    """Variables stand where the template names them, and nothing else of a mail changes."""
    parts = [part.decode("utf-8", "surrogateescape") for part in data.split(b"\x1f")]
    subject, text, page, *values = [*parts, "", "", ""][: max(3, len(parts))]
    variables = dict(zip(("code", "name", "__class__"), values, strict=False))
    began_s = time.process_time()
    content = _composed(Template(subject, text, page), variables)
    assert time.process_time() - began_s < _SLOWEST_S
    if content is None:
        return
    assert len(content) < 2 * MAX_PART_BYTES + 200_000
    _well_formed(content)
    message = message_from_bytes(content, policy=default)
    plain, rich = message.iter_parts()
    assert _body(plain) == _filled(text, variables, str)
    assert _body(rich) == _filled(page, variables, html.escape)


def _composed(template: Template, variables: dict[str, str]) -> bytes | None:
    composer = MessageComposer(
        TemplateSet({(ANY_PURPOSE, "en"): template}),
        from_name="Example",
        from_address=parse_address("noreply@example.net"),
    )
    try:
        return composer.compose(
            mail_id=_MAIL_ID,
            recipient=parse_address("user@example.com"),
            purpose="signup",
            locale="en",
            variables=variables,
            accepted_at_ms=1_800_000_000_000,
        ).content
    except TemplateError as error:
        if "too large" in str(error):
            assert sum(map(len, variables.values())) >= _BIGGEST
            return None
        named = {
            name
            for part in (template.subject, template.text, template.html)
            for name in _PLACEHOLDER.findall(part)
        }
        assert named - variables.keys()
        return None


def _well_formed(content: bytes) -> None:
    lines = content.split(b"\r\n")
    assert not any(b"\r" in line or b"\n" in line or len(line) > 998 for line in lines)
    assert not any(line.startswith(b".") for line in lines)
    assert content.isascii()
    header = content.partition(b"\r\n\r\n")[0]
    names = [line.partition(b":")[0].decode() for line in header.split(b"\r\n") if line[:1] != b" "]
    assert sorted(names) == sorted(_FIELDS)


def _body(part: Message) -> str:
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return _lines(payload.decode("utf-8"))


def _filled(source: str, variables: dict[str, str], quote: Callable[[str], str]) -> str:
    filled = _PLACEHOLDER.sub(lambda match: quote(variables[match[1]]), source)
    # What UTF-8 can't say becomes a question mark.
    return _lines(filled.encode("utf-8", "replace").decode())


def _lines(text: str) -> str:
    """Any line end is one; the last is the boundary's."""
    return re.sub(r"\r\n|\r", "\n", text).removesuffix("\n")


def hear(data: bytes) -> None:
    """Octets of a relay are replies or end the link, however they come in pieces."""
    whole = _LOOP.run_until_complete(_heard([data]))
    assert _LOOP.run_until_complete(_heard(list(_pieces(data)))) == whole
    for reply in whole[0]:
        _judged(reply)


async def _heard(pieces: list[bytes]) -> tuple[list[SmtpReply], str]:
    link = SmtpLink(DeadEnd())
    link.write(b"", replies=1_000_000)
    for piece in pieces:
        link.data_received(piece)
        held = len(link._rest) + link._reader.size  # noqa: SLF001 - what no answer shows
        assert held <= MAX_REPLY_OCTETS or not link.is_usable
    link.eof_received()
    replies: list[SmtpReply] = []
    while True:
        try:
            replies.append(await link.reply(0.0))
        except LinkError as error:
            return replies, str(error)


def _pieces(data: bytes) -> Iterator[bytes]:
    size = 1 + len(data) % 7
    return (data[begin : begin + size] for begin in range(0, len(data), size))


def _judged(reply: SmtpReply) -> None:
    phase = _PHASES[len(reply.text) % len(_PHASES)]
    found = classify(reply.code, reply.enhanced, phase, reply.text, logged_in=reply.code % 2 == 0)
    assert isinstance(found, ReplyClass)
    hint_s = parse_retry_hint(reply.text)
    assert hint_s is None or 0 < hint_s <= MAX_HINT_S
    quote = redact(reply.text)
    assert len(quote) <= MAX_QUOTE
    assert "@" not in quote or not re.search(r"[^\s<>,;:]@[^\s<>,;]", quote)


TARGETS: Targets = {
    "templates": (
        render,
        lambda: [
            b"Your code\x1fYour code: {code}\x1f<p>{code}</p>\x1f123456",
            "Ваш {code}\x1fКод: {code}, {name}\r\n.\x1f<p>{name}</p>\x1f1\x1fИван <b>&".encode(),
            b"{code.__class__}\x1f{0}{}{code!r}{code:>9999999}%(code)s\x1f{{code}}{{ code }}\x1f1",
            b"{__class__}\x1f{__class__}\x1f{__class__}\x1f1\x1f2\x1f\r\nBcc: a@example.test\r\n.",
            b"\x1f".join([b"{code}" * 9, b"{code}" * 9, b"{code}" * 9, b"&" * 3000]),
            b"\x1f" + b"\xf0\x9f\x98\x80" * 500 + b"{code}=_\x1f=3D--=_\x1f..",
        ],
    ),
    "replies": (
        hear,
        lambda: [
            b"250 2.0.0 OK\r\n",
            b"250-mx.example.net\r\n250-PIPELINING\r\n250-SIZE 10240000\r\n250 8BITMIME\r\n",
            b"250 2.1.0 OK\r\n250 2.1.5 OK\r\n354 Go on\r\n421 4.7.0 Try again in 300 seconds\r\n",
            b"550 5.1.1 <user@example.com>: unknown\r\n451 4.7.1 Greylisted, after 00:04:59\r\n",
            b"250-" + b"a" * 9_000 + b"\r\n",
            b"250\r\n250-\r\n251 x\n",
            b"\xff\x00 220 \r\r\n",
            b"554 5.7.1 " + b"a@" * 4_000 + b"\r\n",
            b"454 " + b"wait in " * 1_000 + b"1 s\r\n",
        ],
    ),
}


@pytest.mark.timeout(FUZZ_S + 120)
@pytest.mark.parametrize("target", TARGETS)
def test_no_words_break_a_promise(target: str, figure: Callable[[str], None]) -> None:
    figure(fuzz_target(TARGETS, target))
