"""Reads N.status with a short-lived consumer that belongs to no group."""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import aiokafka
from aiokafka import errors

from mailtopic_client import BrokerUnavailable
from mailtopic_client.adapters.kafka_words import describe_refusal
from mailtopic_contract import RecordError, StatusEvent, decode_status
from mailtopic_sender.ports import ReadingRefused, StatusTail

_POLL_MS = 500


class KafkaStatusLog:
    """N.status as a StatusLog. Records that are no status events are skipped."""

    def __init__(
        self,
        client_kwargs: Mapping[str, Any],
        topic: str,
        *,
        served: Callable[[], int | None] = lambda: None,
    ) -> None:
        """Keep how to reach Kafka, as aiokafka's keyword arguments.

        `served` returns how many partitions all of the satellites have, where that is known.
        """
        self._served = served
        self._client_kwargs = {**client_kwargs, "client_id": "mailtopic-sender-ledger"}
        self._topic = topic

    async def read(self, positions: Mapping[int, int | None]) -> StatusTail:
        """See `StatusLog.read`."""
        if not positions:
            return StatusTail((), {})
        consumer = aiokafka.AIOKafkaConsumer(
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
        cluster = await consumer._client.fetch_all_metadata()  # noqa: SLF001 - nothing public asks
        found: AbstractSet[int] = cluster.partitions_for_topic(self._topic) or set()
        served = self._served()
        return found if served is None else {number for number in found if number < served}

    async def _read(
        self, consumer: aiokafka.AIOKafkaConsumer, positions: Mapping[int, int | None]
    ) -> StatusTail:
        places = {number: aiokafka.TopicPartition(self._topic, number) for number in positions}
        consumer.assign(list(places.values()))
        begins = await consumer.beginning_offsets(list(places.values()))
        ends = await consumer.end_offsets(list(places.values()))
        reading = {}
        for number, position in positions.items():
            place = places[number]
            start = ends[place] if position is None else max(position, begins[place])
            if start > ends[place]:  # the topic was deleted and made again
                start = begins[place]
            if start < ends[place]:
                consumer.seek(place, start)
                reading[place] = ends[place]
            else:
                consumer.pause(place)
        events: list[tuple[int, StatusEvent]] = []
        while reading:
            batches = await consumer.getmany(timeout_ms=_POLL_MS)
            for place, batch in batches.items():
                events += [(place.partition, event) for event in _events(batch)]
            for place in list(reading):
                if await consumer.position(place) >= reading[place]:
                    del reading[place]
        return StatusTail(events, {number: ends[place] for number, place in places.items()})


def _events(batch: list[Any]) -> list[StatusEvent]:
    events: list[StatusEvent] = []
    for message in batch:
        try:
            events.append(decode_status(message.value))
        except RecordError:
            continue
    return events
