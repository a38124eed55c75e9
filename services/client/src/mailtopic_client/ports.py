"""The port through which records leave."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

HeaderList = Sequence[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class RecordMetadata:
    """Where a record was stored."""

    topic: str
    partition: int
    offset: int


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

    async def close(self) -> None:
        """Wait for what is on its way, then disconnect. May be called twice."""
        ...
