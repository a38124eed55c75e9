"""The record's headers: the state of a mail's attempts, in ASCII, without addresses and codes."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from pydantic_core import SchemaValidator, ValidationError, core_schema

from mailtopic_contract.errors import HeaderError
from mailtopic_contract.record import MAX_TIME_MS, RecordOrigin
from mailtopic_contract.trace_context import (
    TRACEPARENT,
    TRACESTATE,
    TraceContext,
    read_trace_context,
)

MAX_ERROR_MESSAGE_BYTES = 512
MAX_ATTEMPT = 1_000_000
_MAX_OFFSET = 2**63 - 1

_ID = "mt-id"
_ATTEMPT = "mt-attempt"
_NOT_BEFORE = "mt-not-before"
_OUTCOMES_FROM = "mt-outcomes-from"
_FIRST_FAILURE_AT = "mt-first-failure-at"
_ORIGIN = "mt-origin-"
_ERROR = "mt-error-"
_FIRST = (_ID, (_ATTEMPT, b"1"))
_DIGITS = re.compile(r"-1|[0-9]{1,19}")
_ADDRESS_LIKE = re.compile(r"\S+@\S+")
# Four digits or more, but not an enhanced status code or an IP address.
_CODE_LIKE = re.compile(r"(?<![0-9.])[0-9]{4,}(?![0-9]|\.[0-9])")


# A sixth of the cost of UUID(text).
_uuid: Callable[[str], UUID] = SchemaValidator(core_schema.uuid_schema()).validate_python


def redact(text: str) -> str:
    """Return an error's text without anything resembling an address or a code."""
    return _CODE_LIKE.sub("***", _ADDRESS_LIKE.sub("***", text))


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """Why the last attempt failed.

    Attributes:
        error_class: the class that decides the handling, such as ``poison`` or ``transient``.
        error_type: the error's type, such as ``RecordError``.
        message: text for people; redacted, ASCII and cut to 512 bytes when encoded.
        smtp: reply code and enhanced code, such as ``451 4.7.1``.
    """

    error_class: str
    error_type: str
    message: str
    smtp: str | None = None


class MailHeaders(NamedTuple):
    """All headers of a record.

    Attributes:
        attempt: the attempt to be made, from 1.
        not_before_ms: the earliest time of the attempt (epoch milliseconds).
        outcomes_from: the record may be a copy; from this offset on, the same partition of N.status
            shows whether another copy was handled.
        trace: the trace that the mail belongs to.
        others: headers that aren't MailTopic's, kept unchanged.
    """

    mail_id: UUID | None = None
    attempt: int = 1
    not_before_ms: int | None = None
    outcomes_from: int | None = None
    first_failure_at_ms: int | None = None
    origin: RecordOrigin | None = None
    error: ErrorInfo | None = None
    trace: TraceContext | None = None
    others: tuple[tuple[str, bytes], ...] = ()

    @property
    def earlier_id(self) -> UUID | None:
        """The id of the mail's earlier attempts; None for a record's first attempt.

        An id without an origin is the producer's own, and implies no attempts.
        """
        return self.mail_id if self.origin is not None else None

    def __repr__(self) -> str:
        # Foreign headers and an error's text are left out.
        return f"MailHeaders({self.mail_id}, attempt={self.attempt})"

    def encode(self) -> list[tuple[str, bytes]]:
        """Return the headers in their encoded form, foreign ones first."""
        texts: dict[str, object] = {
            _ID: self.mail_id,
            _ATTEMPT: self.attempt,
            _NOT_BEFORE: self.not_before_ms,
            _OUTCOMES_FROM: self.outcomes_from,
            _FIRST_FAILURE_AT: self.first_failure_at_ms,
        }
        if self.trace:
            texts |= {TRACEPARENT: self.trace.traceparent, TRACESTATE: self.trace.tracestate}
        if self.origin:
            texts |= {
                f"{_ORIGIN}topic": self.origin.topic,
                f"{_ORIGIN}partition": self.origin.partition,
                f"{_ORIGIN}offset": self.origin.offset,
                # A record's own time may be any number; an invalid one is clamped.
                f"{_ORIGIN}timestamp": min(max(self.origin.timestamp_ms, 0), MAX_TIME_MS),
            }
        if self.error:
            texts |= {
                f"{_ERROR}class": self.error.error_class,
                f"{_ERROR}type": self.error.error_type,
                f"{_ERROR}message": redact(self.error.message),
                f"{_ERROR}smtp": self.error.smtp,
            }
        ours = [(name, _to_ascii(text)) for name, text in texts.items() if text is not None]
        return [*self.others, *ours]


def decode_headers(headers: Sequence[tuple[str, bytes | None]]) -> MailHeaders:
    """Return a record's headers; of duplicates, the last one counts.

    Raises:
        HeaderError: and nothing else, whatever an ``mt-*`` header holds. An invalid ``traceparent``
            or ``tracestate`` is left out, as W3C Trace Context §4.3 requires.
    """
    return _decode_first(headers) or _decode_any(headers)


def _decode_first(headers: Sequence[tuple[str, bytes | None]]) -> MailHeaders | None:
    """Decode the headers of a mail without earlier attempts or a trace; None for any others."""
    if len(headers) == len(_FIRST):
        (name, mail_id), attempt = headers
        if name == _ID and attempt == _FIRST[1] and mail_id is not None and mail_id.isascii():
            try:
                return MailHeaders(_uuid(mail_id.decode("ascii")))
            except ValidationError:
                return None
    return None


def _decode_any(headers: Sequence[tuple[str, bytes | None]]) -> MailHeaders:
    ours: dict[str, str] = {}
    others: list[tuple[str, bytes]] = []
    tracing: dict[str, list[str]] = {TRACEPARENT: [], TRACESTATE: []}
    for name, value in headers:
        if name.startswith("mt-"):
            ours[name] = _from_ascii(name, value)
        elif name in tracing:
            # Non-ASCII bytes make the whole header invalid, and so does their replacement
            # character.
            tracing[name].append((value or b"").decode("ascii", "replace"))
        else:
            others.append((name, value if value is not None else b""))
    attempt = _number(ours, _ATTEMPT, 1, MAX_ATTEMPT)
    return MailHeaders(
        mail_id=_mail_id(ours),
        attempt=1 if attempt is None else attempt,
        not_before_ms=_number(ours, _NOT_BEFORE, 0, MAX_TIME_MS),
        outcomes_from=_number(ours, _OUTCOMES_FROM, 0, _MAX_OFFSET),
        first_failure_at_ms=_number(ours, _FIRST_FAILURE_AT, 0, MAX_TIME_MS),
        origin=_origin(ours),
        error=_error(ours),
        trace=read_trace_context(tracing[TRACEPARENT], tracing[TRACESTATE]),
        others=tuple(others),
    )


def _to_ascii(value: object) -> bytes:
    text = str(value)
    if text.isascii() and text.isprintable():  # like all texts except foreign errors'
        return text.encode("ascii")[:MAX_ERROR_MESSAGE_BYTES]
    printable = "".join(char if char.isprintable() else " " for char in text)
    return printable.encode("ascii", "backslashreplace")[:MAX_ERROR_MESSAGE_BYTES]


def _from_ascii(name: str, value: bytes | None) -> str:
    if value is None or not value.isascii():
        raise HeaderError(f"the header {_short(name)} is not ASCII text")
    return value.decode("ascii")


def _short(name: str) -> str:
    # A header's name is untrusted, too.
    return name if name.isascii() and name.isprintable() and len(name) <= 32 else "mt-…"  # noqa: PLR2004


def _number(texts: dict[str, str], name: str, least: int, most: int) -> int | None:
    text = texts.get(name)
    if text is None:
        return None
    if not _DIGITS.fullmatch(text) or not least <= int(text) <= most:
        raise HeaderError(f"the header {name} is not a number from {least} to {most}")
    return int(text)


def _mail_id(texts: dict[str, str]) -> UUID | None:
    text = texts.get(_ID)
    if text is None:
        return None
    try:
        return _uuid(text)
    except ValidationError:
        pass  # UUID accepts a little more
    try:
        return UUID(text)
    except ValueError:
        raise HeaderError(f"the header {_ID} is not a UUID") from None


def _origin(texts: dict[str, str]) -> RecordOrigin | None:
    topic = texts.get(f"{_ORIGIN}topic")
    partition = _number(texts, f"{_ORIGIN}partition", 0, 2**31 - 1)
    offset = _number(texts, f"{_ORIGIN}offset", 0, _MAX_OFFSET)
    # A record's time is set by its producer, which may omit it (-1) or use microseconds.
    timestamp_ms = _number(texts, f"{_ORIGIN}timestamp", -1, _MAX_OFFSET)
    if topic is None and partition is None and offset is None and timestamp_ms is None:
        return None
    if topic is None or partition is None or offset is None or timestamp_ms is None:
        raise HeaderError("the mt-origin-* headers are not complete")
    return RecordOrigin(topic, partition, offset, timestamp_ms)


def _error(texts: dict[str, str]) -> ErrorInfo | None:
    error_class = texts.get(f"{_ERROR}class")
    if error_class is None:
        return None
    return ErrorInfo(
        error_class=error_class,
        error_type=texts.get(f"{_ERROR}type", ""),
        message=texts.get(f"{_ERROR}message", ""),
        smtp=texts.get(f"{_ERROR}smtp"),
    )
