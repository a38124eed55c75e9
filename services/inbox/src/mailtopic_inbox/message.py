"""A received mail's bytes → what the API shows of it, in Mailpit's shapes. Pure.

Nothing here raises for any input: a mail that cannot be parsed is shown as far as possible.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.header import decode_header, make_header
from email.message import Message
from email.parser import BytesParser, HeaderParser
from email.utils import getaddresses, parsedate_to_datetime
from typing import Any, TypeVar

SNIPPET_CHARS = 250
_MARKUP = re.compile(r"<(style|script)\b.*?</\1\s*>|<[^>]*>", re.IGNORECASE | re.DOTALL)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ReceivedMail:
    """One accepted SMTP transaction. `created_ms` is the time of the final dot (epoch ms)."""

    id: str
    created_ms: int
    mail_from: str
    rcpt_to: tuple[str, ...]
    raw: bytes


def summary_of(mail: ReceivedMail) -> dict[str, Any]:
    """What a list shows of a mail: an element of Mailpit's `messages`, but for `Read`."""
    headers = _headers_of(mail.raw)
    parsed = _parsed(mail.raw)
    text = _safely(lambda: _body(parsed, "plain"), "")
    if not text:
        text = _MARKUP.sub(" ", _safely(lambda: _body(parsed, "html"), ""))
    return {
        "ID": mail.id,
        **_people_and_subject(headers, mail),
        "Created": _timestamp(mail.created_ms),
        "Size": len(mail.raw),
        "Snippet": " ".join(text.split())[:SNIPPET_CHARS],
    }


def detail_of(mail: ReceivedMail) -> dict[str, Any]:
    """What the page of one mail shows: Mailpit's `message`. `HTML` is as hostile as it came."""
    headers = _headers_of(mail.raw)
    parsed = _parsed(mail.raw)
    return {
        "ID": mail.id,
        **_people_and_subject(headers, mail),
        "ReturnPath": mail.mail_from,
        "Date": _date_of(headers) or _timestamp(mail.created_ms),
        "Size": len(mail.raw),
        "Text": _safely(lambda: _body(parsed, "plain"), ""),
        "HTML": _safely(lambda: _body(parsed, "html"), ""),
    }


def _people_and_subject(headers: Message, mail: ReceivedMail) -> dict[str, Any]:
    return {
        "MessageID": _text(headers, "Message-ID").strip().strip("<>"),
        "From": (_addresses(headers, "From") or [_person(mail.mail_from)])[0],
        "To": _addresses(headers, "To") or [_person(address) for address in mail.rcpt_to],
        "Cc": _addresses(headers, "Cc"),
        "Bcc": _addresses(headers, "Bcc"),
        "ReplyTo": _addresses(headers, "Reply-To"),
        "Subject": _text(headers, "Subject"),
    }


# NOTE: the standard library's older parser on purpose. The newer one (policy.default) takes 5 ms
# for a mail of two parts, ten times as long, and raises on more of the hostile ones.


def _headers_of(raw: bytes) -> Message:
    """The header section, read as UTF-8, which RFC 6532 allows there."""
    end = min((at for mark in (b"\r\n\r\n", b"\n\n") if (at := raw.find(mark)) >= 0), default=None)
    text = raw[:end].decode("utf-8", errors="replace")
    return _safely(lambda: HeaderParser().parsestr(text), Message())


def _parsed(raw: bytes) -> Message:
    return _safely(lambda: BytesParser().parsebytes(raw), Message())


def _body(parsed: Message, kind: str) -> str:
    """The first text of this kind that is not an attachment."""
    for part in parsed.walk():
        if part.get_content_type() == f"text/{kind}" and not part.get_filename():
            payload = part.get_payload(decode=True)
            content = payload if isinstance(payload, bytes) else b""
            return _decoded(content, part.get_content_charset("utf-8")).replace("\r\n", "\n")
    return ""


def _decoded(content: bytes, charset: str) -> str:
    try:
        return content.decode(charset, errors="replace")
    except LookupError:
        return content.decode("utf-8", errors="replace")


def _text(headers: Message, name: str) -> str:
    return _words(str(headers.get(name, "")))


def _words(text: str) -> str:
    """A header's text, with its encoded words (RFC 2047) decoded."""
    unfolded = " ".join(text.split())
    if "=?" not in unfolded:
        return unfolded
    return _safely(lambda: str(make_header(decode_header(unfolded))), unfolded)


def _addresses(headers: Message, name: str) -> list[dict[str, str]]:
    values = [str(value) for value in headers.get_all(name, [])]
    none: list[tuple[str, str]] = []
    found = _safely(lambda: getaddresses(values), none)
    return [_person(address, _words(display)) for display, address in found if address]


def _person(address: str, name: str = "") -> dict[str, str]:
    return {"Name": name, "Address": address}


def _date_of(headers: Message) -> str | None:
    def read() -> str | None:
        date = parsedate_to_datetime(_text(headers, "Date"))
        return date.isoformat().replace("+00:00", "Z")

    return _safely(read, None)


def _timestamp(ms: int) -> str:
    text = datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _safely(read: Callable[[], _T], otherwise: _T) -> _T:
    try:
        return read()
    except Exception:  # noqa: BLE001 - the standard library raises a dozen kinds on hostile mail
        return otherwise
