"""`mailtopic dlq show`: a dead letter in detail. No code, no full address."""

import hashlib
from collections.abc import Iterator
from contextlib import aclosing
from uuid import UUID

import typer

from mailtopic_cli.dlq.letter import DeadLetter, read_letter
from mailtopic_cli.dlq.listing import origin_text, smtp_text, time_text
from mailtopic_cli.dlq.masking import excerpt, safe_text
from mailtopic_cli.dlq.selection import Selection
from mailtopic_cli.dlq.session import Session
from mailtopic_contract import MailRecord

_WIDTH = 18


async def show_letters(session: Session, which: UUID | tuple[int, int]) -> int:
    """Print a letter, or all letters of an id; returns the exit code: 0, or 1 if there is none."""
    found = 0
    if isinstance(which, UUID):
        async for letter in session.letters(Selection(ids=frozenset({which}))):
            _print(session, letter, is_first=not found)
            found += 1
    else:
        at_place = await _letter_at(session, *which)
        if at_place is not None:
            _print(session, at_place, is_first=True)
            found = 1
    session.progress.clear()
    if not found:
        typer.echo(f"There is no such dead letter in {session.names.dlq}.")
    return 0 if found else 1


async def _letter_at(session: Session, partition: int, offset: int) -> DeadLetter | None:
    if partition >= await session.dlq_partitions():
        return None
    reading = session.reader.read(session.names.dlq, partition, offset=offset)
    async with aclosing(reading) as batches:
        async for batch in batches:
            for record in batch:
                if record.offset == offset:
                    return read_letter(record, session.legacy)
                return None
    return None


def _print(session: Session, letter: DeadLetter, *, is_first: bool) -> None:
    session.progress.clear()
    if not is_first:
        typer.echo("")
    for name, text in describe(letter, now_ms=session.clock.now_ms()):
        typer.echo(f"{name:<{_WIDTH}}{text}")


def describe(letter: DeadLetter, *, now_ms: int) -> Iterator[tuple[str, str]]:
    """Yield a letter's details as names and texts."""
    record = letter.record
    yield "place", f"{record.topic} {letter.place}"
    yield "died", time_text(letter.died_at_ms)
    yield from _describe_headers(letter)
    key_bytes, value_bytes = len(record.key or b""), len(record.value or b"")
    yield "key", "none" if record.key is None else f"{key_bytes:,} bytes"
    if letter.mail is not None:
        yield "value", f"{value_bytes:,} bytes, a mail"
        yield from _describe_mail(letter.mail, now_ms)
    else:
        yield "value", f"{value_bytes:,} bytes, no mail: {letter.problem}"
        yield from _describe_garbage(record.value)


def _describe_headers(letter: DeadLetter) -> Iterator[tuple[str, str]]:
    headers = letter.headers
    yield "mt-id", str(headers.mail_id or "-")
    yield "mt-attempt", str(headers.attempt)
    yield "mt-origin", origin_text(letter)
    if headers.origin:
        yield "", f"stored {time_text(headers.origin.timestamp_ms)}"
    if headers.first_failure_at_ms is not None:
        yield "first failure", time_text(headers.first_failure_at_ms)
    if headers.error:
        yield "mt-error-class", letter.error_class
        yield "mt-error-type", safe_text(headers.error.error_type)
        yield "mt-error-message", safe_text(headers.error.message)
        yield "mt-error-smtp", smtp_text(headers.error.smtp) if headers.error.smtp else "-"
    for name, value in headers.others:
        # A foreign header can hold anything, even in its name.
        yield "other header", f"{excerpt(name.encode())}: {len(value):,} bytes {excerpt(value)}"


def _describe_mail(mail: MailRecord, now_ms: int) -> Iterator[tuple[str, str]]:
    yield "  id", str(mail.id)
    yield "  to", mail.address.redacted
    yield "  purpose", safe_text(mail.purpose)
    yield "  locale", mail.locale
    yield "  accepted", time_text(mail.accepted_at)
    expired = "is over" if now_ms >= mail.expires_at else "still valid"
    yield "  expires", f"{time_text(mail.expires_at)}, {expired}"
    if mail.sealed is not None:
        yield "  variables", f"sealed with the key {safe_text(mail.sealed.kid)}"
    else:
        yield "  variables", f"{len(mail.variables or {})}, not shown"
    if mail.model_extra:
        yield "  other fields", f"{len(mail.model_extra)}, not shown"


def _describe_garbage(value: bytes | None) -> Iterator[tuple[str, str]]:
    if not value:
        return
    yield "  SHA-256", hashlib.sha256(value).hexdigest()
    yield "  excerpt", excerpt(value)
    yield "", "(x: a letter, #: a digit, .: something else; only the contract's words are shown)"
