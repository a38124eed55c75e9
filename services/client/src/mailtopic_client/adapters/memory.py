"""The shipped fake of the BrokerClient port."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from mailtopic_client.errors import BrokerUnavailable
from mailtopic_client.ports import HeaderList, OutgoingRecord, RecordMetadata


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record as the fake keeps it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp_ms: int | None


@dataclass(slots=True)
class MemoryBroker:
    """Keeps records in memory; fails like an unreachable broker while ``available`` is False.

    It chooses partitions by another hash than Kafka does.
    """

    partitions: int = 6
    available: bool = True
    records: list[StoredRecord] = field(default_factory=list)
    connected: bool = False

    async def connect(self) -> None:
        """Mark the fake as connected."""
        self.connected = True

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
        """See `BrokerClient.publish`."""
        if not self.available:
            raise BrokerUnavailable("the broker is away")
        if partition is None:
            partition = self._partition(key)
        offset = sum(1 for r in self.records if (r.topic, r.partition) == (topic, partition))
        self.records.append(
            StoredRecord(topic, partition, offset, key, value, tuple(headers), timestamp_ms)
        )
        return RecordMetadata(topic, partition, offset)

    async def publish_batch(
        self, topic: str, partition: int, records: Sequence[OutgoingRecord]
    ) -> Sequence[int]:
        """See `BrokerClient.publish_batch`."""
        stored = [
            await self.publish(topic, partition=partition, **each._asdict()) for each in records
        ]
        return [each.offset for each in stored]

    async def partitions_for(self, topic: str, keys: Sequence[bytes]) -> list[int]:
        """See `BrokerClient.partitions_for`."""
        del topic
        if not self.available:
            raise BrokerUnavailable("the broker is away")
        return [self._partition(key) for key in keys]

    def _partition(self, key: bytes | None) -> int:
        return zlib.crc32(key or b"") % self.partitions

    async def close(self) -> None:
        """Mark the fake as disconnected."""
        self.connected = False

    def stored(self, topic: str) -> list[StoredRecord]:
        """Return a topic's records in the order in which they were published."""
        return [record for record in self.records if record.topic == topic]
