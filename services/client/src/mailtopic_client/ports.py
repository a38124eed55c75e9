"""The port for publishing records."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

HeaderList = Sequence[tuple[str, bytes | None]]


@dataclass(frozen=True, slots=True)
class RecordMetadata:
    """Where a record was stored."""

    topic: str
    partition: int
    offset: int


class OutgoingRecord(NamedTuple):
    """A record of a batch; a key or a value at least."""

    key: bytes | None
    value: bytes | None
    headers: HeaderList = ()
    timestamp_ms: int | None = None


class BrokerClient(Protocol):
    """Publishes records and knows when they are safe.

    It does not promise that a record is stored once: after an error, and after a process died, the
    same record may be there already. Records carry ids for that reason.
    """

    async def connect(self) -> None:
        """Wait until a broker answers; returns at once if one did before."""
        ...

    async def publish(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: HeaderList = (),
        partition: int | None = None,
        timestamp_ms: int | None = None,
    ) -> RecordMetadata:
        """Store a record; returns after all in-sync replicas have it (acks=all).

        Without a partition, the key chooses it as Kafka's own default partitioner does.

        Raises:
            BrokerUnavailable: no acknowledgement in time.
            RecordRefused: the broker refuses this record, or there is no such topic.
        """
        ...

    async def publish_batch(
        self, topic: str, partition: int, records: Sequence[OutgoingRecord]
    ) -> Sequence[int]:
        """Store records in this order in one partition; returns the offset of each.

        Others may write into the partition meanwhile, so the offsets grow and may have gaps.

        It costs a fraction of the same number of `publish` calls. After an error, any number of
        them may have been stored, always from the first one on.

        Args:
            topic: where to.
            partition: one that the topic has.
            records: at least one.

        Raises:
            BrokerUnavailable: no acknowledgement in time.
            RecordRefused: the broker refuses one of them, or there is no such topic.
        """
        ...

    async def partitions_for(self, topic: str, keys: Sequence[bytes]) -> list[int]:
        """Return the partition that `publish` would choose by each of these keys.

        Raises:
            BrokerUnavailable: the number of partitions is not known in time.
            RecordRefused: there is no such topic.
        """
        ...

    async def close(self) -> None:
        """Wait for records in flight, then disconnect. Can be called twice."""
        ...
