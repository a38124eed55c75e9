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
from mailtopic_client.adapters.kafka_words import describe_refusal, describe_unreadable
from mailtopic_contract import RecordError, Unread
from mailtopic_runtime import StateLog, get_logger
from mailtopic_sender.adapters import topic_states
from mailtopic_sender.adapters.kafka_retention import RetentionWatch, begins_of_cut_off
from mailtopic_sender.adapters.topic_states import TopicStates
from mailtopic_sender.ports import (
    AssignmentListener,
    CommitRejected,
    Committed,
    ConsumedRecord,
    ReadingRefused,
    SourceBroken,
    TopicPartition,
)

_CONNECT_RETRY_S = 1.0
_WELL_S = 3.0
_LASTING_S = 3.0
"""An error that a broker returns for a partition for less than this is an election or restart."""

_STOP_S = 4.0
_FETCH_MAX_WAIT_MS = 200
_METADATA_MAX_AGE_MS = 5_000
"""How soon new partitions are noticed; aiokafka's 5 min are half the lifetime of a code."""


class KafkaSource:
    """One consumer in one group. Unreadable records are returned with a fault, for the DLQ.

    Args:
        client_kwargs: how to reach Kafka, as aiokafka's keyword arguments.
        topics: the topics to read; they must exist.
        group: the consumer group.
        session_timeout_s: a killed consumer's partitions go to others after this.
        rebalance_timeout_s: how long members may take to give up partitions.
        instance_id: makes this a static member (KIP-345): a member that returns under the same name
            within the session timeout gets its partitions back without a rebalance, and one that
            stops doesn't leave the group.
        client_id: this consumer's name in the broker's logs.
        max_record_bytes: a larger record's value is left out.
        count_gone: called with the number of offsets that retention deleted before they were read.
        states: shows whether a topic is still the one that was read; shared with others.
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
        count_gone: Callable[[int], None] = lambda _count: None,
        states: TopicStates | None = None,
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
        # aiokafka keeps the assignor's state in the class: two consumers need two classes.
        self._assignor = type("Sticky", (StickyPartitionAssignor,), {})
        self._consumer: SafeConsumer | None = None
        self._turn = _Turn()
        self._retention = RetentionWatch(count_gone)
        self._states = states or TopicStates(topics)
        self._topic_ids: dict[str, str | None] = {}
        self._went_back: set[str] = set()
        self._log = get_logger(__name__).bind(group=group)
        self._state = StateLog(self._log, "consumer")
        self._polls_well_since_s: float | None = None

    @property
    def problem(self) -> str | None:
        """See `RecordSource.problem`."""
        consumer = self._consumer
        if self._state.reason is not None or consumer is None:
            return self._state.reason
        return describe_unreadable(consumer.lasting_errors(_LASTING_S))

    async def start(self, listener: AssignmentListener) -> None:
        """See `RecordSource.start`."""
        while True:
            consumer = SafeConsumer(
                max_record_bytes=self._max_record_bytes,
                log=self._log,
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
            self._went_back.clear()
            total = partial(_count_partitions, consumer, self._topics)
            consumer.subscribe(
                self._topics,
                listener=_Listener(listener, self._turn, total, self._retention.forget),
            )
            try:
                await consumer.start()
            except errors.KafkaError as error:
                self._note_refusal(error)
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
            self._note_refusal(error)
            raise SourceBroken(f"the consumer failed: {type(error).__name__}") from None
        self._note_answer()
        # During a rebalance getmany may return a moment before the listener is called.
        turn, number = self._turn, self._turn.number
        await turn.settled.wait()
        if number != turn.number:
            return ()
        replaced = await self._start_over()
        batches = {place: batch for place, batch in batches.items() if place.topic not in replaced}
        returned = self._retention.returned(batches)
        if returned is not None:
            # Repeated records may have outcomes that were never read: only a start reads them.
            raise SourceBroken(f"{returned} was cut off: its log ends before what was read")
        await self._retention.follow(self._running, batches)
        return [_record(fetched) for batch in batches.values() for fetched in batch]

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        """See `RecordSource.pause`."""
        self._running.pause(*self._still_assigned(partitions))

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        """See `RecordSource.resume`."""
        self._running.resume(*self._still_assigned(partitions))

    def go_back(self, place: TopicPartition, offset: int) -> None:
        """See `RecordSource.go_back`."""
        self._went_back.add(place.topic)
        for each in self._still_assigned([place]):
            self._running.seek(each, offset)
            self._retention.go_back(each, offset)

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
            await self._states.ask(admin._client)  # noqa: SLF001 - it has no request for it
            found = await self._of_these_topics(stored)
            found |= (begins := await begins_of_cut_off(self._running, found, log=self._log))
            await self._read_from_start(list(begins))
            known = {place: committed.offset for place, committed in found.items()}
            await self._retention.resume(self._running, known)
        except (errors.KafkaError, OSError, AttributeError) as error:
            refusal = describe_refusal(error, group=self._group)
            if refusal is not None:
                raise ReadingRefused(refusal) from None
            # AttributeError: aiokafka 0.14 fails on an error code in this response.
            raise BrokerUnavailable(f"no committed offsets: {type(error).__name__}") from None
        finally:
            await admin.close()
        return {
            TopicPartition(place.topic, place.partition): committed
            for place, committed in found.items()
        }

    async def commit(self, offsets: Mapping[TopicPartition, Committed]) -> None:
        """See `RecordSource.commit`."""
        wanted = {
            aiokafka.TopicPartition(*place): (
                committed.offset,
                topic_states.with_topic_id(committed.metadata, self._topic_ids.get(place.topic)),
            )
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

    async def _of_these_topics(
        self, stored: Mapping[aiokafka.TopicPartition, Any]
    ) -> dict[aiokafka.TopicPartition, Committed]:
        """Return the commits for the topics that exist now, not for former ones."""
        found: dict[aiokafka.TopicPartition, Committed] = {}
        former: list[aiokafka.TopicPartition] = []
        for topic in self._topics:
            state = self._states.current.get(topic)
            self._topic_ids[topic] = state.topic_id if state else None
        for place, each in stored.items():
            metadata, topic_id = topic_states.without_topic_id(each.metadata)
            if each.offset >= 0 and self._states.replaced(place.topic, topic_id):
                former.append(place)
            elif each.offset >= 0:
                found[place] = Committed(each.offset, metadata)
        self._tell_replaced({place.topic for place in former})
        await self._read_from_start(former)
        return found

    async def _start_over(self) -> Collection[str]:
        """Read topics that were deleted and created again from their start; return which ones."""
        replaced = [
            topic
            for topic, topic_id in self._topic_ids.items()
            if self._states.replaced(topic, topic_id)
        ]
        if not replaced:
            return ()
        if not self._went_back.isdisjoint(replaced):
            # New records must not be taken for those that were parked.
            raise SourceBroken("a topic was made again")
        for topic in replaced:
            self._topic_ids[topic] = self._states.current[topic].topic_id
        assigned = self._running.assignment()
        self._tell_replaced(set(replaced))
        await self._read_from_start([place for place in assigned if place.topic in replaced])
        return replaced

    def _tell_replaced(self, topics: Collection[str]) -> None:
        for topic in sorted(topics):
            why = "it was deleted and made again: it is read from its start"
            self._log.warning("topic.replaced", topic=topic, reason=why)

    async def _read_from_start(self, places: Sequence[aiokafka.TopicPartition]) -> None:
        places = self._still_assigned([TopicPartition(*place) for place in places])
        if places:
            self._retention.forget()
            try:
                await self._running.seek_to_beginning(*places)
            except errors.KafkaError as error:
                raise SourceBroken(f"no start of a topic: {type(error).__name__}") from None

    def _note_refusal(self, error: errors.KafkaError) -> None:
        self._polls_well_since_s = None
        refusal = describe_refusal(error, topic=", ".join(self._topics), group=self._group)
        if refusal is not None:
            self._state.down(refusal)

    def _note_answer(self) -> None:
        """Clear the problem when polls have succeeded for some seconds."""
        now_s = asyncio.get_running_loop().time()
        if self._polls_well_since_s is None:
            self._polls_well_since_s = now_s
        elif now_s - self._polls_well_since_s > _WELL_S and not self._state.is_up:
            self._state.up()

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
    """The assignment's number, and whether the listener has been called for it."""

    def __init__(self) -> None:
        self.number = 0
        self.settled = asyncio.Event()
        self.settled.set()


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka has no types
    """Passes a rebalance on. aiokafka swallows exceptions raised here."""

    def __init__(
        self,
        listener: AssignmentListener,
        turn: _Turn,
        total: Callable[[], int],
        forget: Callable[[], None],
    ) -> None:
        self._listener = listener
        self._forget = forget
        self._turn = turn
        self._total = total

    async def on_partitions_revoked(self, revoked: Collection[aiokafka.TopicPartition]) -> None:
        self._turn.number += 1
        self._turn.settled.clear()
        self._forget()
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
