"""Reads <topic>.status and records the outcome of each mail."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable

from aiokafka.errors import KafkaError

from mailtopic_client import KafkaSettings
from mailtopic_client.adapters.kafka_consumer import SafeConsumer
from mailtopic_client.adapters.kafka_diagnosis import Diagnosis
from mailtopic_client.adapters.kafka_partition import FetchedRecord
from mailtopic_client.adapters.kafka_words import describe_refusal
from mailtopic_contract import Outcome, RecordError, StatusEvent, TopicNames, decode_status
from mailtopic_runtime import StateLog, get_logger
from mailtopic_signup.metrics import CountDelivery
from mailtopic_signup.ports import DatabaseUnavailable, Delivered, DeliveryStore

_RETRY_S = 1.0
_STOP_S = 4.0
_POLL_MS = 1000
_MAX_RECORDS = 500


class StatusConsumers:
    """A consumer for each topic that mails may be sent to.

    Args:
        kafka: how to reach Kafka.
        topics: returns the main topics; called periodically, because tokens come and go.
        store: where outcomes are recorded.
        count: called with each state after it was recorded.
        skipped: called for each record that isn't a status event.
        look_s: seconds between two checks for other topics.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        topics: Callable[[], Iterable[str]],
        store: DeliveryStore,
        *,
        count: CountDelivery,
        skipped: Callable[[], None],
        look_s: float = 10.0,
    ) -> None:
        self._kafka = kafka
        self._topics = topics
        self._store = store
        self._count = count
        self._skipped = skipped
        self._look_s = look_s

    async def run(self) -> None:
        """Consume until cancelled; a topic that was seen once is consumed to the end."""
        followed: set[str] = set()
        async with asyncio.TaskGroup() as group:
            while True:
                for topic in set(self._topics()) - followed:
                    consumer = StatusConsumer(
                        self._kafka, topic, self._store, count=self._count, skipped=self._skipped
                    )
                    group.create_task(consumer.run())
                    followed.add(topic)
                await asyncio.sleep(self._look_s)


class StatusConsumer:
    """One member of the group ``<topic>.signup``.

    An event is committed after it was recorded: after a crash it is recorded again, which changes
    nothing. Records that aren't status events are skipped.

    Args:
        kafka: how to reach it.
        topic: the MailTopic's main topic.
        store: where the states are kept.
        count: called with each state after it was recorded.
        skipped: called for each record that isn't a status event; each poll logs one line at most.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        topic: str,
        store: DeliveryStore,
        *,
        count: CountDelivery,
        skipped: Callable[[], None],
    ) -> None:
        self._kwargs = kafka.client_kwargs()
        self._topic = TopicNames(topic).status
        self._group = f"{topic}.signup"
        self._store = store
        self._count = count
        self._skipped = skipped
        self._log = get_logger(__name__)
        self._state = StateLog(self._log, "status_topic")
        self._diagnosis = Diagnosis(self._kwargs)

    async def run(self) -> None:
        """Consume until cancelled; waits for Kafka and for the topic."""
        while True:
            consumer = SafeConsumer(
                log=self._log,
                **self._kwargs,
                group_id=self._group,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                isolation_level="read_committed",
                metadata_max_age_ms=5_000,
            )
            try:
                await consumer.start()
                await self._wait_for_topic(consumer)
                consumer.subscribe([self._topic])
                await self._consume(consumer)
            except KafkaError as error:
                refusal = describe_refusal(error, topic=self._topic, group=self._group)
                self._state.down(refusal or await self._diagnosis.reason())
            finally:
                await _stop(consumer)
            await asyncio.sleep(_RETRY_S)

    async def _wait_for_topic(self, consumer: SafeConsumer) -> None:
        # All topics are listed: a request by name could create it.
        while self._topic not in await consumer.topics():
            self._state.down(f"the topic {self._topic} does not exist yet")
            await asyncio.sleep(_RETRY_S)

    async def _consume(self, consumer: SafeConsumer) -> None:
        while True:
            batches = await consumer.getmany(timeout_ms=_POLL_MS, max_records=_MAX_RECORDS)
            self._state.up()
            records = [record for batch in batches.values() for record in batch]
            if not records:
                continue
            await self._record(records)
            await consumer.commit(
                {partition: batch[-1].offset + 1 for partition, batch in batches.items()}
            )

    async def _record(self, records: Iterable[FetchedRecord]) -> None:
        news = self._decode(records)
        while news:
            try:
                await self._store.record(news)
            except DatabaseUnavailable:
                await asyncio.sleep(_RETRY_S)
            else:
                for each in news:
                    self._count(each.delivery)
                return

    def _decode(self, records: Iterable[FetchedRecord]) -> list[Delivered]:
        news: list[Delivered] = []
        bad: list[tuple[FetchedRecord, str]] = []
        for record in records:
            try:
                event = decode_status(record.value if record.fault is None else None)
            except RecordError as error:
                self._skipped()
                bad.append((record, error.reason))
            else:
                news.append(_delivered(event))
        if bad:
            # One line for the whole poll: a flood from a foreign writer must not fill the log.
            (first, reason), *_ = bad
            self._log.warning(
                "status_topic.bad_records",
                reason=reason,
                records=len(bad),
                partition=first.partition,
                offset=first.offset,
            )
        return news


def _delivered(event: StatusEvent) -> Delivered:
    return Delivered(
        event.id,
        event.outcome,
        event.at,
        event.reply_class,
        event.smtp,
        taken_back=event.outcome is Outcome.DEFERRED and bool(event.taken_back),
    )


async def _stop(consumer: SafeConsumer) -> None:
    # Leaving the group waits for a reply like any request: an unreachable broker would keep the
    # process running beyond its grace period in Kubernetes.
    with contextlib.suppress(KafkaError, TimeoutError):
        async with asyncio.timeout(_STOP_S):
            await consumer.stop()
