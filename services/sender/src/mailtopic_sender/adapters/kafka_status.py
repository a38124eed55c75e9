"""Reads N.status with a short-lived consumer that belongs to no group."""

import time
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import aiokafka
from aiokafka import errors

from mailtopic_client import BrokerUnavailable
from mailtopic_client.adapters.kafka_consumer import SafeConsumer
from mailtopic_client.adapters.kafka_partition import FetchedRecord
from mailtopic_client.adapters.kafka_words import describe_refusal
from mailtopic_contract import RecordError, StatusEvent, decode_status
from mailtopic_runtime import get_logger
from mailtopic_sender.ports import ReadingRefused, StatusTail

_POLL_MS = 500
_BROKEN_LOG = (errors.CorruptRecordException.__name__, errors.UnknownError.__name__)
"""The errors of a broker that can't read its own log."""

_BROKEN_LOG_S = 5.0


class KafkaStatusLog:
    """N.status as a StatusLog. Records that aren't status events are skipped.

    Args:
        client_kwargs: how to reach Kafka, as aiokafka's keyword arguments.
        topic: N.status.
        skipped: called for each skipped record; each reading logs one line about them.
        served: returns how many partitions all of the satellites have, if that is known.
    """

    def __init__(
        self,
        client_kwargs: Mapping[str, Any],
        topic: str,
        *,
        skipped: Callable[[], None],
        served: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._served = served
        self._client_kwargs = {**client_kwargs, "client_id": "mailtopic-sender-ledger"}
        self._topic = topic
        self._skipped = skipped

    async def read(self, positions: Mapping[int, int | None]) -> StatusTail:
        """See `StatusLog.read`."""
        if not positions:
            return StatusTail((), {})
        consumer = SafeConsumer(
            **self._client_kwargs,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
        )
        try:
            await consumer.start()
            there = await self._partitions(consumer)
            wanted = {number: start for number, start in positions.items() if number in there}
            return await self._read(consumer, wanted) if wanted else StatusTail((), {})
        except (errors.KafkaError, OSError) as error:
            refusal = describe_refusal(error, topic=self._topic)
            if refusal is not None:
                raise ReadingRefused(refusal) from None
            raise BrokerUnavailable(f"{self._topic}: {type(error).__name__}") from None
        finally:
            await consumer.stop()

    async def _partitions(self, consumer: aiokafka.AIOKafkaConsumer) -> AbstractSet[int]:
        cluster = await consumer._client.fetch_all_metadata()  # noqa: SLF001 - nothing public
        found: AbstractSet[int] = cluster.partitions_for_topic(self._topic) or set()
        served = self._served()
        return found if served is None else {number for number in found if number < served}

    async def _read(
        self, consumer: SafeConsumer, positions: Mapping[int, int | None]
    ) -> StatusTail:
        places = {number: aiokafka.TopicPartition(self._topic, number) for number in positions}
        consumer.assign(list(places.values()))
        begins = await consumer.beginning_offsets(list(places.values()))
        ends = await consumer.end_offsets(list(places.values()))
        reading = {}
        for number, position in positions.items():
            place = places[number]
            start = ends[place] if position is None else max(position, begins[place])
            if start > ends[place]:  # the topic was deleted and created again
                start = begins[place]
            if start < ends[place]:
                consumer.seek(place, start)
                reading[place] = ends[place]
            else:
                consumer.pause(place)
        events: list[tuple[int, StatusEvent]] = []
        skipped = _Skipped(self._skipped)
        begun_s = time.monotonic()
        while reading:
            batches = await consumer.getmany(timeout_ms=_POLL_MS)
            for place, batch in batches.items():
                events += [(place.partition, event) for event in _events(batch, skipped)]
            for place in list(reading):
                problem = consumer.partition_errors.get(place)
                is_lost = problem is not None and self._give_up(place, problem, begun_s)
                if is_lost or await consumer.position(place) >= reading[place]:
                    del reading[place]
        skipped.tell(self._topic)
        return StatusTail(events, {number: ends[place] for number, place in places.items()})

    def _give_up(self, place: aiokafka.TopicPartition, problem: str, begun_s: float) -> bool:
        """Whether to continue without a partition: its mails may be sent twice, all others wait."""
        if problem not in _BROKEN_LOG:
            raise BrokerUnavailable(f"{self._topic}/{place.partition}: {problem}")
        if time.monotonic() - begun_s < _BROKEN_LOG_S:
            return False
        get_logger(__name__).error(
            "status_log.unreadable", topic=place.topic, partition=place.partition, reason=problem
        )
        return True


class _Skipped:
    """The records of one reading that aren't status events."""

    def __init__(self, count: Callable[[], None]) -> None:
        self._count = count
        self._records = 0
        self._first: FetchedRecord | None = None

    def note(self, record: FetchedRecord) -> None:
        self._count()
        self._records += 1
        self._first = self._first or record

    def tell(self, topic: str) -> None:
        if self._first is not None:
            get_logger(__name__).warning(
                "status_log.bad_records",
                topic=topic,
                records=self._records,
                partition=self._first.partition,
                offset=self._first.offset,
            )


def _events(batch: Iterable[FetchedRecord], skipped: _Skipped) -> list[StatusEvent]:
    events: list[StatusEvent] = []
    for record in batch:
        try:
            # An unreadable header doesn't matter here, but its record isn't one of ours.
            events.append(decode_status(record.value if record.fault is None else None))
        except RecordError:
            skipped.note(record)
    return events
