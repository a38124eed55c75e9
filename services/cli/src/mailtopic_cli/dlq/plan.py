"""Which dead letters to replay, kept on disk: a DLQ may be larger than memory.

It is a temporary file of SQLite, removed with the plan. It holds ids and keys, which are hashes;
no address and no variable.
"""

import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Self

from mailtopic_cli.dlq.letter import DeadLetter, is_replay_mark
from mailtopic_contract import MailRecord, Outcome, StatusEvent

_ANY_ATTEMPT = 2**31
# One transaction without a journal and without an end: the file isn't used after this process.
_SCHEMA = """
PRAGMA journal_mode = OFF;
PRAGMA cache_size = -65536;
BEGIN;
CREATE TABLE letters (
    mail_id BLOB PRIMARY KEY, attempt INTEGER, partition INTEGER, offset INTEGER, class TEXT,
    recipient BLOB, purpose TEXT, accepted_at INTEGER, verdict TEXT
) WITHOUT ROWID;
CREATE INDEX recipients ON letters (recipient);
"""
_ADD = """
INSERT INTO letters VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL)
ON CONFLICT (mail_id) DO UPDATE SET
    attempt = excluded.attempt, partition = excluded.partition, offset = excluded.offset,
    class = excluded.class
WHERE excluded.attempt >= attempt
"""
_HAS_MAIL = "SELECT 1 FROM letters WHERE mail_id = ?"
_JUDGE_BY_EVENT = "UPDATE letters SET verdict = ? WHERE mail_id = ? AND attempt <= ?"
_JUDGE_BY_NEWER = """
UPDATE letters SET verdict = ?
WHERE recipient = ? AND purpose = ? AND accepted_at < ? AND verdict IS NULL
"""
_JUDGE_AMONG_LETTERS = """
UPDATE letters SET verdict = ? WHERE verdict IS NULL AND purpose = ? AND EXISTS (
    SELECT 1 FROM letters AS newer WHERE newer.recipient = letters.recipient
    AND newer.purpose = letters.purpose AND newer.accepted_at > letters.accepted_at)
"""


class Skip(StrEnum):
    """Why a dead letter isn't replayed, in the words shown to the user."""

    UNREADABLE = "no mail"
    EXPIRED = "expired"
    REPEATED = "earlier deaths of the same mail"
    REPLAYED = "replayed before"
    SETTLED = "delivered or otherwise settled"
    SUPERSEDED = "superseded by a newer mail"
    GONE = "removed from the DLQ meanwhile"


@dataclass(frozen=True, slots=True)
class Planned:
    """Where a letter to be replayed is."""

    partition: int
    offset: int


class ReplayPlan:
    """One row for each mail that may be replayed: its last death. Uses at most 64 MB of memory."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.executescript(_SCHEMA)
        self.skipped: Counter[Skip] = Counter()
        self.matched = 0
        self.oldest_ms: int | None = None
        """Earliest time of any record about the mails, epoch milliseconds; None without mails."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._db.close()

    def add(self, letter: DeadLetter, *, now_ms: int) -> None:
        """Add a selected letter."""
        self.matched += 1
        mail = letter.mail
        if mail is None:
            self.skipped[Skip.UNREADABLE] += 1
            return
        if letter.is_expired(now_ms):
            self.skipped[Skip.EXPIRED] += 1
            return
        if self._db.execute(_HAS_MAIL, (mail.id.bytes,)).fetchone():
            self.skipped[Skip.REPEATED] += 1
        self._db.execute(_ADD, _row(letter, mail))
        earliest_ms = min(mail.accepted_at, letter.died_at_ms)
        self.oldest_ms = min(earliest_ms, self.oldest_ms or earliest_ms)

    def judge_by_events(self, events: Iterable[StatusEvent]) -> None:
        """Skip mails that were settled or replayed after they died."""
        self._db.executemany(_JUDGE_BY_EVENT, filter(None, map(_verdict, events)))

    def judge_by_newer(self, mails: Iterable[MailRecord]) -> None:
        """Skip mails that are superseded by one of these."""
        keys = (
            (Skip.SUPERSEDED, mail.address.partition_key, mail.purpose, mail.accepted_at)
            for mail in mails
        )
        self._db.executemany(_JUDGE_BY_NEWER, keys)

    def judge_among_letters(self, purposes: Collection[str]) -> None:
        """Skip mails that are superseded by another one in the plan."""
        self._db.executemany(_JUDGE_AMONG_LETTERS, [(Skip.SUPERSEDED, name) for name in purposes])

    def has_recipient(self, key: bytes) -> bool:
        """Whether a mail in the plan is for the recipient with this key."""
        ask = "SELECT 1 FROM letters WHERE recipient = ? LIMIT 1"
        return self._db.execute(ask, (key,)).fetchone() is not None

    def close_judgement(self) -> None:
        """Count the skipped mails; call it once, after the last `skip`."""
        ask = "SELECT verdict, count(*) FROM letters WHERE verdict IS NOT NULL GROUP BY verdict"
        for verdict, count in self._db.execute(ask):
            self.skipped[Skip(verdict)] += count

    @property
    def planned(self) -> int:
        """How many mails are to be replayed."""
        return self._count("verdict IS NULL")

    def by_class(self) -> dict[str, int]:
        """How many mails of each class are to be replayed, largest first."""
        ask = (
            "SELECT class, count(*) FROM letters WHERE verdict IS NULL "
            "GROUP BY class ORDER BY 2 DESC LIMIT 100"
        )
        return dict(self._db.execute(ask).fetchall())

    def of_partition(self, partition: int) -> Iterator[Planned]:
        """Yield where the letters of a partition are, by offset."""
        ask = (
            "SELECT partition, offset FROM letters "
            "WHERE verdict IS NULL AND partition = ? ORDER BY offset"
        )
        for row in self._db.execute(ask, (partition,)):
            yield Planned(*row)

    def _count(self, condition: str) -> int:
        ask = f"SELECT count(*) FROM letters WHERE {condition}"  # noqa: S608 - constant text
        return int(self._db.execute(ask).fetchone()[0])


def _row(letter: DeadLetter, mail: MailRecord) -> tuple[object, ...]:
    return (
        mail.id.bytes,
        letter.headers.attempt,
        letter.record.partition,
        letter.record.offset,
        letter.error_class,
        mail.address.partition_key,
        mail.purpose,
        mail.accepted_at,
    )


def _verdict(event: StatusEvent) -> tuple[str, bytes, int] | None:
    """An event's verdict, its mail, and the last attempt that it covers."""
    if event.outcome.final and event.outcome not in {Outcome.DEAD, Outcome.UNKNOWN}:
        return Skip.SETTLED, event.id.bytes, _ANY_ATTEMPT
    if is_replay_mark(event):
        return Skip.REPLAYED, event.id.bytes, event.attempt
    if event.attempt > 1:
        # There was a later attempt than the one that failed, so the mail was replayed.
        return Skip.REPLAYED, event.id.bytes, event.attempt - 1
    return None
