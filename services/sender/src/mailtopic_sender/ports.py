"""The engine's ports on Kafka. `Mailer` is in `mail_ports`, `BrokerClient` in mailtopic_client."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from mailtopic_contract import RecordError, StatusEvent


class TopicPartition(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int


class ConsumedRecord(NamedTuple):
    """A record as it was read. The repr shows neither key nor value nor headers.

    Attributes:
        fault: why it couldn't be read; then the rest is what its dead letter is to hold.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    fault: RecordError | None = None

    def __repr__(self) -> str:
        return f"ConsumedRecord({self.topic!r}, {self.partition}, {self.offset})"

    @property
    def place(self) -> TopicPartition:
        """The partition in which it is stored."""
        return TopicPartition(self.topic, self.partition)

    @property
    def size(self) -> int:
        """Bytes of key, value and headers."""
        size = len(self.key or b"") + len(self.value or b"")
        for name, value in self.headers:
            size += len(name) + len(value or b"")
        return size


class Committed(NamedTuple):
    """A group's committed offset of a partition: the next one to read, and our metadata."""

    offset: int
    metadata: str


class CommitRejected(Exception):  # noqa: N818 - it says what happened
    """The group has moved on: another member may own the partitions. Never to be repeated."""


class SourceBroken(Exception):  # noqa: N818 - it says what happened
    """The consumer can't go on; a new `start` may help. The text is one line without secrets."""


class AssignmentListener(Protocol):
    """Hears which partitions this consumer owns. Every rebalance revokes all of them first."""

    def assigned(self, partitions: Collection[TopicPartition], *, total: int) -> None:
        """From now on these are owned, none of them paused. Must not block.

        `total` is how many partitions there are for all members of the group together.
        """
        ...

    async def revoked(self, partitions: Collection[TopicPartition]) -> None:
        """Ownership ends when this returns; commits are still allowed until then.

        It must not wait for `RecordSource.poll`, which doesn't return meanwhile.
        """
        ...


class RecordSource(Protocol):
    """One consumer in one group.

    It doesn't promise that a record is handed out once: what isn't committed comes again. Offsets
    of a partition grow, with gaps.
    """

    async def start(self, listener: AssignmentListener) -> None:
        """Join the group; waits for a broker. May be called again after `stop`."""
        ...

    async def poll(self, *, timeout_s: float, max_records: int) -> Sequence[ConsumedRecord]:
        """Return what has arrived, at latest after the timeout, except during a rebalance.

        Raises:
            SourceBroken: this consumer gives no more records.
        """
        ...

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """Hand out nothing of these until `resume`; a rebalance forgets it."""
        ...

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        """Hand out records of these again."""
        ...

    async def committed(
        self, partitions: Collection[TopicPartition]
    ) -> Mapping[TopicPartition, Committed]:
        """Return what the group committed; partitions without a commit are missing.

        Raises:
            BrokerUnavailable: no answer.
        """
        ...

    async def commit(self, offsets: Mapping[TopicPartition, Committed]) -> None:
        """Commit for the group; may wait for the broker as long as the assignment lasts.

        Raises:
            CommitRejected: this consumer doesn't own the partitions any more.
            BrokerUnavailable: the broker didn't take it.
        """
        ...

    async def stop(self) -> None:
        """Leave the group. Doesn't call `revoked` and doesn't commit."""
        ...


class Backlog(Protocol):
    """Knows what waits in a topic, as of the last answer of the broker."""

    async def unread(self, partitions: Collection[TopicPartition]) -> Collection[TopicPartition]:
        """Return those of the owned partitions with records that `poll` has not handed out.

        Doesn't ask the broker. One of which nothing was ever fetched may be missing.
        """
        ...


class MeteredSource(RecordSource, Backlog, Protocol):
    """A consumer that knows its backlog."""


@dataclass(frozen=True, slots=True)
class StatusTail:
    """What N.status held: events in order per partition, and each partition's end offset."""

    events: Iterable[tuple[int, StatusEvent]]
    ends: Mapping[int, int]


class StatusLog(Protocol):
    """Reads N.status. Events that are written while it reads may be missing."""

    async def read(self, positions: Mapping[int, int | None]) -> StatusTail:
        """Return all events from these offsets (by partition) to the end of the topic.

        Where the offset is None, only the end is wanted.

        Raises:
            BrokerUnavailable: no answer.
        """
        ...
