"""When a record may be dispatched: at once, or after its retry tier's delay."""

from collections import deque
from collections.abc import Collection, Mapping
from typing import Protocol

from mailtopic_contract import RetryTier
from mailtopic_sender.ports import ConsumedRecord, TopicPartition

_NOT_BEFORE = "mt-not-before"


class RetryHold(Protocol):
    """Keeps records until they are due. The order within a partition is kept."""

    def admit(self, record: ConsumedRecord, now_ms: int) -> None:
        """Take a record."""
        ...

    def due(self, now_ms: int) -> list[ConsumedRecord]:
        """Return the records that may be dispatched now."""
        ...

    @property
    def holding(self) -> Collection[TopicPartition]:
        """Partitions with waiting records: reading further would only fill the memory."""
        ...

    def clear(self) -> None:
        """Drop everything: the partitions were revoked."""
        ...


class NoHold:
    """The main topic's hold: every record is due at once."""

    def __init__(self) -> None:
        self._records: list[ConsumedRecord] = []

    def admit(self, record: ConsumedRecord, now_ms: int) -> None:
        """Take a record."""
        del now_ms
        self._records.append(record)

    def due(self, now_ms: int) -> list[ConsumedRecord]:
        """Return all records."""
        del now_ms
        records, self._records = self._records, []
        return records

    @property
    def holding(self) -> Collection[TopicPartition]:
        """Nothing waits."""
        return ()

    def clear(self) -> None:
        """Drop everything."""
        self._records.clear()


class TierHold:
    """The retry topics' hold: the head of each partition waits for its ``mt-not-before``.

    One topic has one delay, so records behind the head are due after it. A time that is missing,
    unreadable or further away than the tier's delay (a clock that is ahead) counts as one delay
    from now: no record may block its partition for longer.
    """

    def __init__(self, tiers: Mapping[str, RetryTier]) -> None:
        self._delay_ms = {topic: tier.delay_ms for topic, tier in tiers.items()}
        self._waiting: dict[TopicPartition, deque[tuple[int, ConsumedRecord]]] = {}

    def admit(self, record: ConsumedRecord, now_ms: int) -> None:
        """Take a record."""
        delay_ms = self._delay_ms[record.topic]
        stated_ms = _not_before_ms(record)
        due_ms = record.timestamp_ms + delay_ms if stated_ms is None else stated_ms
        due_ms = min(due_ms, now_ms + delay_ms)
        self._waiting.setdefault(record.place, deque()).append((due_ms, record))

    def due(self, now_ms: int) -> list[ConsumedRecord]:
        """Return every due record with no earlier one waiting in its partition."""
        records: list[ConsumedRecord] = []
        for place in list(self._waiting):
            queue = self._waiting[place]
            while queue and queue[0][0] <= now_ms:
                records.append(queue.popleft()[1])
            if not queue:
                del self._waiting[place]
        return records

    @property
    def holding(self) -> Collection[TopicPartition]:
        """Partitions whose head isn't due."""
        return self._waiting.keys()

    def clear(self) -> None:
        """Drop everything."""
        self._waiting.clear()


def _not_before_ms(record: ConsumedRecord) -> int | None:
    for name, value in record.headers:
        if name == _NOT_BEFORE and value is not None and value.isdigit() and len(value) < 16:  # noqa: PLR2004
            return int(value)
    return None
