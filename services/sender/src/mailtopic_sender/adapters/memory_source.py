"""The shipped fakes of the Kafka ports: topics in memory, one consumer per group, N.status."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from mailtopic_client import (
    BrokerUnavailable,
    HeaderList,
    OutgoingRecord,
    RecordMetadata,
    RecordRefused,
)
from mailtopic_contract import RecordError, StatusEvent, decode_status
from mailtopic_sender.ports import (
    AssignmentListener,
    CommitRejected,
    Committed,
    ConsumedRecord,
    StatusTail,
    TopicPartition,
)


@dataclass
class MemoryKafka:
    """Topics in memory: a BrokerClient and a StatusLog that `MemorySource` reads from.

    Attributes:
        partitions: number of partitions of every topic.
        outcome_partitions: the same for N.status, if it has fewer.
        available: False makes it fail like an unreachable broker.
        now_ms: returns the record time.
        commits: what every group committed, in order.
        max_record_bytes: by topic name; larger values are refused.
        closed: topics that take no records.
    """

    partitions: int = 1
    outcome_partitions: int | None = None
    available: bool = True
    now_ms: Callable[[], int] = lambda: 1_790_000_000_000
    logs: dict[TopicPartition, list[ConsumedRecord]] = field(
        default_factory=lambda: defaultdict(list)
    )
    commits: list[tuple[str, TopicPartition, Committed]] = field(default_factory=list)
    written: asyncio.Event = field(default_factory=asyncio.Event)
    max_record_bytes: dict[str, int] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)

    async def connect(self) -> None:
        """Nothing to connect to."""

    async def publish(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: HeaderList = (),
        partition: int | None = None,
        timestamp_ms: int | None = None,
        skip_offsets: int = 0,
    ) -> RecordMetadata:
        """See `BrokerClient.publish`; a gap of `skip_offsets` is left before the record."""
        self.check()
        if topic in self.closed:
            raise RecordRefused("unknown-topic", "the topic does not exist")
        if len(value or b"") > self.max_record_bytes.get(topic, len(value or b"")):
            raise RecordRefused("too-large", "the record is larger than its topic allows")
        log = self.logs[TopicPartition(topic, partition or 0)]
        offset = (log[-1].offset + 1 if log else 0) + skip_offsets
        log.append(
            ConsumedRecord(
                topic=topic,
                partition=partition or 0,
                offset=offset,
                timestamp_ms=self.now_ms() if timestamp_ms is None else timestamp_ms,
                key=key,
                value=value,
                headers=tuple(headers),
            )
        )
        self.written.set()
        return RecordMetadata(topic, partition or 0, offset)

    async def publish_batch(
        self, topic: str, partition: int, records: Sequence[OutgoingRecord]
    ) -> Sequence[int]:
        """See `BrokerClient.publish_batch`."""
        stored = [
            await self.publish(topic, partition=partition, **each._asdict()) for each in records
        ]
        return [each.offset for each in stored]

    async def partitions_for(self, topic: str, keys: Sequence[bytes]) -> list[int]:
        """See `BrokerClient.partitions_for`; all without a partition of their own go to 0."""
        del topic
        return [0 for _ in keys]

    async def close(self) -> None:
        """Nothing to close."""

    async def read(self, positions: Mapping[int, int | None], *, topic: str) -> StatusTail:
        """Read status events as `StatusLog.read` does."""
        self.check()
        events: list[tuple[int, StatusEvent]] = []
        ends: dict[int, int] = {}
        most = self.outcome_partitions
        for partition, position in positions.items():
            if most is not None and partition >= most:
                continue
            log = self.logs[TopicPartition(topic, partition)]
            ends[partition] = log[-1].offset + 1 if log else 0
            for record in log:
                if position is not None and record.offset >= position:
                    with suppress(RecordError):
                        events.append((partition, decode_status(record.value)))
        return StatusTail(events, ends)

    def stored(self, topic: str) -> list[ConsumedRecord]:
        """All records of a topic, partition by partition."""
        return [r for place in sorted(self.logs) if place.topic == topic for r in self.logs[place]]

    def committed(self, group: str, place: TopicPartition) -> Committed | None:
        """A group's last commit."""
        found = [what for who, where, what in self.commits if (who, where) == (group, place)]
        return found[-1] if found else None

    def check(self) -> None:
        """Raise BrokerUnavailable while it is unavailable."""
        if not self.available:
            raise BrokerUnavailable("the broker is away")


class MemoryStatusLog:
    """N.status of a MemoryKafka as a StatusLog."""

    def __init__(self, kafka: MemoryKafka, topic: str) -> None:
        self._kafka = kafka
        self._topic = topic

    async def read(self, positions: Mapping[int, int | None]) -> StatusTail:
        """See `StatusLog.read`."""
        return await self._kafka.read(positions, topic=self._topic)


class MemorySource:
    """The only consumer of a group.

    Attributes:
        paused: partitions that return no records.
        reject_commits: fail like a group that has rebalanced.
        polls: how often it was polled.
        problem: what the broker refuses, as text.
    """

    def __init__(self, kafka: MemoryKafka, *, topics: Sequence[str], group: str) -> None:
        self._kafka = kafka
        self._group = group
        self._places = [
            TopicPartition(topic, number) for topic in topics for number in range(kafka.partitions)
        ]
        self._positions: dict[TopicPartition, int] = {}
        self._listener: AssignmentListener | None = None
        self.paused: set[TopicPartition] = set()
        self.reject_commits = False
        self.polls = 0
        self.problem: str | None = None

    async def start(self, listener: AssignmentListener) -> None:
        """See `RecordSource.start`."""
        self._listener = listener
        self._assign(listener)

    async def rebalance(self) -> None:
        """Revoke everything and assign it again, as every rebalance does."""
        if self._listener is None:
            raise RuntimeError("the source has not been started")
        places, self._positions = self._places, {}
        await self._listener.revoked(places)
        self._assign(self._listener)

    async def poll(self, *, timeout_s: float, max_records: int) -> Sequence[ConsumedRecord]:
        """See `RecordSource.poll`."""
        self.polls += 1
        records = self._take(max_records)
        if not records:
            self._kafka.written.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._kafka.written.wait()
            records = self._take(max_records)
        await asyncio.sleep(0)
        return records

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """See `RecordSource.pause`."""
        self.paused |= set(partitions)

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        """See `RecordSource.resume`."""
        self.paused -= set(partitions)

    def go_back(self, place: TopicPartition, offset: int) -> None:
        """See `RecordSource.go_back`."""
        self._positions[place] = offset

    async def committed(
        self, partitions: Collection[TopicPartition]
    ) -> Mapping[TopicPartition, Committed]:
        """See `RecordSource.committed`."""
        self._kafka.check()
        found = {place: self._kafka.committed(self._group, place) for place in partitions}
        return {place: committed for place, committed in found.items() if committed is not None}

    async def commit(self, offsets: Mapping[TopicPartition, Committed]) -> None:
        """See `RecordSource.commit`."""
        self._kafka.check()
        if self.reject_commits or self._listener is None:
            raise CommitRejected("the group has moved on")
        self._kafka.commits += [(self._group, place, what) for place, what in offsets.items()]

    async def unread(self, partitions: Collection[TopicPartition]) -> Collection[TopicPartition]:
        """See `Backlog.unread`."""
        ends = {place: log[-1].offset + 1 for place, log in self._kafka.logs.items() if log}
        return [p for p in partitions if ends.get(p, 0) > self._positions.get(p, 0)]

    async def stop(self) -> None:
        """See `RecordSource.stop`."""
        self._listener = None
        self._positions = {}

    def _assign(self, listener: AssignmentListener) -> None:
        self.paused.clear()
        for place in self._places:
            committed = self._kafka.committed(self._group, place)
            self._positions[place] = committed.offset if committed else 0
        listener.assigned(self._places, total=len(self._places))

    def _take(self, max_records: int) -> list[ConsumedRecord]:
        taken: list[ConsumedRecord] = []
        for place, position in self._positions.items():
            if place in self.paused:
                continue
            waiting = [r for r in self._kafka.logs[place] if r.offset >= position]
            taken += waiting[: max_records - len(taken)]
        for record in taken:
            self._positions[record.place] = record.offset + 1
        return taken
