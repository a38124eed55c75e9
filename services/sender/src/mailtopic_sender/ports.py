"""The engine's ports on Kafka. `Mailer` is in `mail_ports`, `BrokerClient` in mailtopic_client."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from mailtopic_client import BrokerUnavailable
from mailtopic_contract import RecordError, StatusEvent


class TopicPartition(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int


class ConsumedRecord(NamedTuple):
    """A record as it was read. The repr shows neither key nor value nor headers.

    Attributes:
        fault: why it couldn't be read; the other fields are then the content of its dead letter.
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
    """The group has rebalanced: another member may own the partitions. Never retry it."""


class SourceBroken(Exception):  # noqa: N818 - it says what happened
    """The consumer can't continue; a new `start` may help. The text is one line without secrets."""


class ReadingRefused(BrokerUnavailable):
    """A broker answers, but refuses the request. The text says how to fix that."""


class AssignmentListener(Protocol):
    """Called when this consumer's partitions change. Every rebalance revokes all of them first."""

    def assigned(self, partitions: Collection[TopicPartition], *, total: int) -> None:
        """These partitions are owned from now on, none of them paused. Must not block.

        `total` is the number of partitions of all members of the group together.
        """
        ...

    async def revoked(self, partitions: Collection[TopicPartition]) -> None:
        """Ownership ends when this returns; commits are still allowed until then.

        It must not wait for `RecordSource.poll`, which blocks meanwhile.
        """
        ...


class RecordSource(Protocol):
    """One consumer in one group.

    It doesn't promise to return a record only once: uncommitted ones are delivered again. Offsets
    of a partition increase, with gaps.
    """

    @property
    def problem(self) -> str | None:
        """What the broker refuses, as text; None while nothing is refused. Thread-safe."""
        ...

    async def start(self, listener: AssignmentListener) -> None:
        """Join the group; waits for a broker, and for its permission.

        May be called again after `stop`.
        """
        ...

    async def poll(self, *, timeout_s: float, max_records: int) -> Sequence[ConsumedRecord]:
        """Return arrived records, after the timeout at the latest, except during a rebalance.

        Raises:
            SourceBroken: this consumer returns no more records.
        """
        ...

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """Return no records of these until `resume`; a rebalance resets it."""
        ...

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        """Return records of these again."""
        ...

    def go_back(self, place: TopicPartition, offset: int) -> None:
        """Return the records of a partition from this offset on once more."""
        ...

    async def committed(
        self, partitions: Collection[TopicPartition]
    ) -> Mapping[TopicPartition, Committed]:
        """Return the group's commits; partitions without a commit are missing.

        Raises:
            BrokerUnavailable: no answer.
            ReadingRefused: the broker doesn't allow it.
        """
        ...

    async def commit(self, offsets: Mapping[TopicPartition, Committed]) -> None:
        """Commit for the group; may wait for the broker while the assignment lasts.

        Raises:
            CommitRejected: this consumer doesn't own the partitions any more.
            BrokerUnavailable: the broker didn't accept it.
        """
        ...

    async def stop(self) -> None:
        """Leave the group. Doesn't call `revoked` and doesn't commit."""
        ...


class Backlog(Protocol):
    """A consumer's unread records, as of the broker's last response."""

    async def unread(self, partitions: Collection[TopicPartition]) -> Collection[TopicPartition]:
        """Return the owned partitions with records that `poll` has not returned yet.

        Sends no request. Partitions from which nothing was ever fetched may be missing.
        """
        ...


class MeteredSource(RecordSource, Backlog, Protocol):
    """A consumer with its backlog."""


@dataclass(frozen=True, slots=True)
class StatusTail:
    """The content of N.status: events in order per partition, and each partition's end offset."""

    events: Iterable[tuple[int, StatusEvent]]
    ends: Mapping[int, int]


class StatusLog(Protocol):
    """Reads N.status. Events that are written while it reads may be missing."""

    async def read(self, positions: Mapping[int, int | None]) -> StatusTail:
        """Return all events from these offsets (by partition) to the end of the topic.

        If the offset is None, only the end is returned; if it is beyond the end, the topic was
        replaced, and all of it is returned. Partitions without a place for outcomes, in N.status or
        in another satellite, are missing in the result.

        Raises:
            BrokerUnavailable: no answer.
        """
        ...
