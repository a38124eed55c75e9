"""The ports of `mailtopic dlq`: topics are read to their ends, replays stored in transactions."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class TopicRecord:
    """A record as stored; ``timestamp_ms`` is the record's own time."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True, slots=True)
class NewRecord:
    """A record to be stored."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class TopicReader(Protocol):
    """Reads topics. It belongs to no consumer group and changes nothing.

    It doesn't promise to return records stored after a read began, or removed by retention during
    it.
    """

    async def partitions(self, topic: str) -> int:
        """Return how many partitions a topic has; 0 if it doesn't exist."""
        ...

    def read(
        self, topic: str, partition: int, *, since_ms: int | None = None, offset: int = 0
    ) -> AsyncGenerator[Sequence[TopicRecord], None]:
        """Yield a partition's committed records in batches, up to its end as it is now.

        Only one read may be open at a time.

        Args:
            topic: an existing one.
            partition: one of its partitions.
            since_ms: begin with the first record that has at least this time.
            offset: begin here, or with the first record after it.

        Raises:
            BrokerAway: no broker answers in time.
        """
        ...


class ReplayWriter(Protocol):
    """Stores replays. Of a topic's writers, only the one opened last can write."""

    async def open(self) -> None:
        """Take over: when this returns, earlier writers can't store anything.

        Raises:
            BrokerAway: no broker answers in time.
            AccessDenied: the broker doesn't allow it.
        """
        ...

    async def store(self, records: Sequence[NewRecord]) -> None:
        """Store all of the records or none of them.

        After BrokerAway it is unknown which: the next writer finds out from what is
        stored.

        Raises:
            BrokerAway: no broker confirms it in time.
            AccessDenied: the broker doesn't allow it.
            TakenOver: another writer was opened.
        """
        ...
