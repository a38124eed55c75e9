"""aiokafka's consumer as a RecordSource.

What it shields the engine from (aiokafka 0.14): a rebalance forgets pauses and revokes everything;
`getmany` ignores its timeout during one; `committed()` drops the metadata; `stop()` doesn't revoke.
"""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

import aiokafka
from aiokafka import errors
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor

from mailtopic_client import BrokerUnavailable
from mailtopic_client.adapters.kafka_consumer import SafeConsumer
from mailtopic_client.adapters.kafka_partition import DEFAULT_MAX_RECORD_BYTES, FetchedRecord
from mailtopic_contract import RecordError, Unread
from mailtopic_sender.adapters.kafka_retention import RetentionWatch
from mailtopic_sender.ports import (
    AssignmentListener,
    CommitRejected,
    Committed,
    ConsumedRecord,
    SourceBroken,
    TopicPartition,
)

_CONNECT_RETRY_S = 1.0
_STOP_S = 4.0
_FETCH_MAX_WAIT_MS = 200
_METADATA_MAX_AGE_MS = 30_000
"""A topic that was deleted and made again is read again after so long; aiokafka's 5 min are half
the life of a code."""


class KafkaSource:
    """One consumer in one group.

    What can't be read is handed out with a fault, so that it gets into the DLQ.

    Args:
        client_kwargs: how to reach Kafka, as aiokafka's keyword arguments.
        topics: what to read; they exist.
        group: the consumer group.
        session_timeout_s: a killed consumer's partitions go to others after so long.
        rebalance_timeout_s: how long members may take to give up partitions.
        instance_id: makes this a static member (KIP-345): who comes back under the same name
            within the session timeout gets its partitions back without a rebalance; and who stops
            doesn't leave the group.
        client_id: how the broker's logs call this consumer.
        max_record_bytes: of a larger record, the value is left out.
    """

    def __init__(
        self,
        client_kwargs: Mapping[str, Any],
        *,
        topics: Sequence[str],
        group: str,
        session_timeout_s: float,
        rebalance_timeout_s: float,
        instance_id: str | None = None,
        client_id: str = "mailtopic-sender",
        max_record_bytes: int = DEFAULT_MAX_RECORD_BYTES,
    ) -> None:
        self._client_kwargs = {**client_kwargs, "client_id": client_id}
        self._instance_id = instance_id
        self._max_record_bytes = max_record_bytes
        self._topics = list(topics)
        self._group = group
        self._timeouts = {
            "session_timeout_ms": round(session_timeout_s * 1000),
            "heartbeat_interval_ms": min(3_000, round(session_timeout_s * 1000 / 3)),
            # Unset, it would be the session timeout: shorter than a drain.
            "rebalance_timeout_ms": round(rebalance_timeout_s * 1000),
        }
        # aiokafka keeps the assignor's memory in the class: two consumers need two classes.
        self._assignor = type("Sticky", (StickyPartitionAssignor,), {})
        self._consumer: SafeConsumer | None = None
        self._turn = _Turn()
        self._retention = RetentionWatch()

    async def start(self, listener: AssignmentListener) -> None:
        """See `RecordSource.start`."""
        while True:
            consumer = SafeConsumer(
                max_record_bytes=self._max_record_bytes,
                **self._client_kwargs,
                **self._timeouts,
                group_id=self._group,
                group_instance_id=self._instance_id,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                isolation_level="read_committed",
                partition_assignment_strategy=(self._assignor,),
                fetch_max_wait_ms=_FETCH_MAX_WAIT_MS,
                metadata_max_age_ms=_METADATA_MAX_AGE_MS,
            )
            self._turn = _Turn()
            total = partial(_count_partitions, consumer, self._topics)
            consumer.subscribe(self._topics, listener=_Listener(listener, self._turn, total))
            try:
                await consumer.start()
            except errors.KafkaError:
                await _stop(consumer)
                await asyncio.sleep(_CONNECT_RETRY_S)
            except BaseException:
                await _stop(consumer)
                raise
            else:
                self._consumer = consumer
                return

    async def poll(self, *, timeout_s: float, max_records: int) -> Sequence[ConsumedRecord]:
        """See `RecordSource.poll`."""
        try:
            batches = await self._running.getmany(
                timeout_ms=round(timeout_s * 1000), max_records=max_records
            )
        except errors.KafkaError as error:
            raise SourceBroken(f"the consumer failed: {type(error).__name__}") from None
        # During a rebalance getmany may return a moment before the listener hears of it.
        turn, number = self._turn, self._turn.number
        await turn.settled.wait()
        if number != turn.number:
            return ()
        await self._retention.follow(self._running, batches)
        return [_record(fetched) for batch in batches.values() for fetched in batch]

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """See `RecordSource.pause`."""
        self._running.pause(*self._still_assigned(partitions))

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        """See `RecordSource.resume`."""
        self._running.resume(*self._still_assigned(partitions))

    async def committed(
        self, partitions: Collection[TopicPartition]
    ) -> Mapping[TopicPartition, Committed]:
        """See `RecordSource.committed`."""
        if not partitions:
            return {}
        admin = AIOKafkaAdminClient(**self._client_kwargs)
        try:
            await admin.start()
            stored = await admin.list_consumer_group_offsets(
                self._group, partitions=[aiokafka.TopicPartition(*place) for place in partitions]
            )
            known = {place: found.offset for place, found in stored.items() if found.offset >= 0}
            await self._retention.resume(self._running, known)
        except (errors.KafkaError, OSError, AttributeError) as error:
            # AttributeError: aiokafka 0.14 stumbles over an error code in this very answer.
            raise BrokerUnavailable(f"no committed offsets: {type(error).__name__}") from None
        finally:
            await admin.close()
        return {
            TopicPartition(place.topic, place.partition): Committed(found.offset, found.metadata)
            for place, found in stored.items()
            if found.offset >= 0
        }

    async def commit(self, offsets: Mapping[TopicPartition, Committed]) -> None:
        """See `RecordSource.commit`."""
        wanted = {
            aiokafka.TopicPartition(*place): (committed.offset, committed.metadata)
            for place, committed in offsets.items()
        }
        try:
            await self._running.commit(wanted)
        except (errors.CommitFailedError, errors.IllegalStateError):
            raise CommitRejected("the group has moved on") from None
        except errors.KafkaError as error:
            raise BrokerUnavailable(f"no commit: {type(error).__name__}") from None

    async def unread(self, partitions: Collection[TopicPartition]) -> Collection[TopicPartition]:
        """See `Backlog.unread`."""
        found: list[TopicPartition] = []
        consumer = self._consumer
        if consumer is None:
            return found
        for place in self._still_assigned(partitions):
            end = consumer.highwater(place)
            stable = consumer.last_stable_offset(place)
            if end is None:
                continue
            # The position passes transaction markers, which no record ever does.
            with contextlib.suppress(errors.IllegalStateError):
                if await consumer.position(place) < min(end, stable or end):
                    found.append(TopicPartition(place.topic, place.partition))
        return found

    async def stop(self) -> None:
        """See `RecordSource.stop`."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await _stop(consumer)

    @property
    def _running(self) -> SafeConsumer:
        if self._consumer is None:
            raise SourceBroken("the consumer is not running")
        return self._consumer

    def _still_assigned(
        self, partitions: Collection[TopicPartition]
    ) -> list[aiokafka.TopicPartition]:
        assigned = self._running.assignment()
        wanted = [aiokafka.TopicPartition(*place) for place in partitions]
        return [place for place in wanted if place in assigned]


class _Turn:
    """Which assignment it is, and whether the listener has heard of it."""

    def __init__(self) -> None:
        self.number = 0
        self.settled = asyncio.Event()
        self.settled.set()


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka has no types
    """Passes a rebalance on. aiokafka swallows what is raised here."""

    def __init__(self, listener: AssignmentListener, turn: _Turn, total: Callable[[], int]) -> None:
        self._listener = listener
        self._turn = turn
        self._total = total

    async def on_partitions_revoked(self, revoked: Collection[aiokafka.TopicPartition]) -> None:
        self._turn.number += 1
        self._turn.settled.clear()
        await self._listener.revoked([TopicPartition(*place) for place in revoked])

    async def on_partitions_assigned(self, assigned: Collection[aiokafka.TopicPartition]) -> None:
        places = [TopicPartition(*place) for place in assigned]
        self._listener.assigned(places, total=max(self._total(), len(places)))
        self._turn.settled.set()


def _count_partitions(consumer: aiokafka.AIOKafkaConsumer, topics: Sequence[str]) -> int:
    return sum(len(consumer.partitions_for_topic(topic) or ()) for topic in topics)


def _record(fetched: FetchedRecord) -> ConsumedRecord:
    if fetched.fault is None:
        return ConsumedRecord(*fetched[:-1])
    fault = fetched.fault
    unread = Unread(
        fault.form,
        fault.first_offset,
        fetched.offset,
        fault.stored_bytes,
        fault.digest,
        fault.raw_names,
    )
    return ConsumedRecord(*fetched[:-1])._replace(
        headers=(*fetched.headers, *unread.encode()), fault=RecordError(fault.reason, fault.text)
    )


async def _stop(consumer: aiokafka.AIOKafkaConsumer) -> None:
    # Without a broker, leaving the group can wait for ever.
    with contextlib.suppress(errors.KafkaError, TimeoutError):
        async with asyncio.timeout(_STOP_S):
            await consumer.stop()
