"""`mailtopic dlq list`: a line for each dead letter, then how many there are of each class."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import typer

from mailtopic_cli.dlq.letter import DeadLetter
from mailtopic_cli.dlq.masking import safe_text
from mailtopic_cli.dlq.selection import Selection
from mailtopic_cli.dlq.session import Session

MAX_CLASSES = 100
"""How many classes are counted separately; any writer to the DLQ can invent more."""

_OTHER_CLASSES = "others"
_JSON_BEGIN = '{"records": [\n'
_COLUMNS = (
    ("PLACE", 10),
    ("ID", 36),
    ("DIED", 20),
    ("CLASS", 12),
    ("TYPE", 14),
    ("ATTEMPT", 7),
    ("ORIGIN", 18),
    ("SMTP", 10),
    ("EXPIRED", 7),
    ("TO", 0),
)


@dataclass(frozen=True, slots=True)
class Row:
    """A dead letter's row in the list: no code, no full address."""

    place: str
    id: str | None
    died_at: str
    error_class: str
    error_type: str | None
    attempt: int
    origin: str
    smtp: str | None
    expired: bool | None
    to: str | None

    def cells(self) -> Iterator[str]:
        """The row's cells in the order of the columns."""
        expired = {True: "yes", False: "no", None: "?"}[self.expired]
        yield from (self.place, self.id or "-", self.died_at, self.error_class)
        yield from (self.error_type or "-", str(self.attempt), self.origin, self.smtp or "-")
        yield from (expired, self.to or "-")


def row_of(letter: DeadLetter, *, now_ms: int) -> Row:
    """Return a letter's row."""
    error = letter.headers.error
    return Row(
        place=letter.place,
        id=str(letter.id) if letter.id else None,
        died_at=time_text(letter.died_at_ms),
        error_class=letter.error_class,
        error_type=safe_text(error.error_type) if error else None,
        attempt=letter.headers.attempt,
        origin=origin_text(letter),
        smtp=smtp_text(error.smtp) if error and error.smtp else None,
        expired=letter.is_expired(now_ms),
        to=letter.mail.address.redacted if letter.mail else None,
    )


def time_text(time_ms: int) -> str:
    """Format a time: ISO 8601, UTC, seconds."""
    if time_ms < 0:
        return "-"
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def origin_text(letter: DeadLetter) -> str:
    """Where a record was first stored: ``topic/partition/offset``."""
    origin = letter.headers.origin
    if origin is None:
        return "-"
    # The MailTopic's own name is shown as it is; in a foreign text digits can be a code.
    is_ours = letter.record.topic == f"{origin.topic}.dlq"
    topic = origin.topic if is_ours else safe_text(origin.topic)
    return f"{topic}/{origin.partition}/{origin.offset}"


def smtp_text(text: str) -> str:
    """The reply code and enhanced code, without any other content of the header."""
    shown = text[:20]
    return shown if shown.replace(".", "").replace(" ", "").isdecimal() else "?"


class ByClass:
    """Letters by class, with a bounded number of classes."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, name: str) -> None:
        """Count a letter."""
        is_new = name not in self._counts and len(self._counts) >= MAX_CLASSES
        self._counts[_OTHER_CLASSES if is_new else name] += 1

    @property
    def total(self) -> int:
        """How many letters were counted."""
        return self._counts.total()

    def document(self) -> dict[str, int]:
        """The counts, largest first."""
        return dict(self._counts.most_common())

    def text(self) -> str:
        """The counts in words."""
        return ", ".join(f"{count:,} {name}" for name, count in self._counts.most_common())


async def list_letters(
    session: Session, selection: Selection, *, limit: int | None, as_json: bool
) -> None:
    """Print the selected letters."""
    counts = ByClass()
    printer = _JsonPrinter() if as_json else _TablePrinter()
    now_ms = session.clock.now_ms()
    async for letter in session.letters(selection):
        if limit is None or counts.total < limit:
            session.progress.clear()
            printer.row(row_of(letter, now_ms=now_ms))
        counts.add(letter.error_class)
    session.progress.clear()
    printer.end(session.names.dlq, counts, limit)


class _TablePrinter:
    """Lines with fixed columns: rows are written as they are read."""

    def __init__(self) -> None:
        self._has_head = False

    def row(self, row: Row) -> None:
        if not self._has_head:
            typer.echo(_line(name for name, _ in _COLUMNS))
            self._has_head = True
        typer.echo(_line(row.cells()))

    def end(self, topic: str, counts: ByClass, limit: int | None) -> None:
        if not counts.total:
            typer.echo(f"No dead letters match in {topic}.")
            return
        if limit is not None and counts.total > limit:
            typer.echo(f"… and {counts.total - limit:,} more; --limit 0 shows all")
        typer.echo(f"\n{counts.total:,} dead letters: {counts.text()}")


class _JsonPrinter:
    """One JSON document, written as the letters are read."""

    def __init__(self) -> None:
        self._has_rows = False

    def row(self, row: Row) -> None:
        before = ",\n" if self._has_rows else _JSON_BEGIN
        typer.echo(f"{before}{json.dumps(asdict(row))}", nl=False)
        self._has_rows = True

    def end(self, topic: str, counts: ByClass, limit: int | None) -> None:
        del limit
        facts: dict[str, Any] = {
            "topic": topic,
            "total": counts.total,
            "by_class": counts.document(),
        }
        begin = "" if self._has_rows else _JSON_BEGIN
        typer.echo(f"{begin}\n], {json.dumps(facts)[1:]}")


def _line(cells: Iterator[str]) -> str:
    pairs = zip(cells, _COLUMNS, strict=True)
    return "  ".join(cell.ljust(width) for cell, (_, width) in pairs).rstrip()
