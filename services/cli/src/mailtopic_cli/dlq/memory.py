"""The shipped fake of the ports of `mailtopic dlq`."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field

from mailtopic_cli.dlq.errors import BrokerAway, TakenOver
from mailtopic_cli.dlq.ports import NewRecord, TopicRecord
from mailtopic_runtime import Clock

_BATCH = 2


@dataclass(slots=True)
class MemoryTopics:
    """Topics in memory, read as a `TopicReader`; all have the same number of partitions.

    Attributes:
        topics: those that exist.
        records: what is stored; remove some to simulate retention.
    """

    clock: Clock
    topics: frozenset[str]
    partition_count: int = 3
    records: list[TopicRecord] = field(default_factory=list)
    opened: int = 0
    _next_offset: int = 0

    def put(self, record: NewRecord, *, timestamp_ms: int | None = None) -> TopicRecord:
        """Store a record."""
        stored = TopicRecord(
            record.topic,
            record.partition,
            # One count for all partitions, so that each of them has gaps.
            self._next_offset,
            self.clock.now_ms() if timestamp_ms is None else timestamp_ms,
            record.key,
            record.value,
            record.headers,
        )
        self._next_offset += 1
        self.records.append(stored)
        return stored

    def stored(self, topic: str) -> list[TopicRecord]:
        """A topic's records in the order in which they were stored."""
        return [record for record in self.records if record.topic == topic]

    async def partitions(self, topic: str) -> int:
        """See `TopicReader.partitions`."""
        return self.partition_count if topic in self.topics else 0

    async def read(
        self, topic: str, partition: int, *, since_ms: int | None = None, offset: int = 0
    ) -> AsyncGenerator[Sequence[TopicRecord], None]:
        """See `TopicReader.read`."""
        found = [r for r in self.stored(topic) if r.partition == partition and r.offset >= offset]
        if since_ms is not None:
            in_time = [number for number, r in enumerate(found) if r.timestamp_ms >= since_ms]
            found = found[in_time[0] :] if in_time else []
        for start in range(0, len(found), _BATCH):
            yield found[start : start + _BATCH]


@dataclass(slots=True)
class MemoryReplayWriter:
    """A `ReplayWriter` on topics in memory; can fail like an unreachable broker."""

    topics: MemoryTopics
    batches_left: int | None = None
    number: int = 0

    async def open(self) -> None:
        """See `ReplayWriter.open`."""
        self.topics.opened += 1
        self.number = self.topics.opened

    async def store(self, records: Sequence[NewRecord]) -> None:
        """See `ReplayWriter.store`."""
        if self.number != self.topics.opened:
            raise TakenOver("another replay was started")
        if self.batches_left is not None:
            if not self.batches_left:
                raise BrokerAway("the broker is away")
            self.batches_left -= 1
        for record in records:
            self.topics.put(record)
