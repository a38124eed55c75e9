"""aiokafka as the ports of `mailtopic dlq`."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar

import aiokafka
from aiokafka import errors
from aiokafka.admin import AIOKafkaAdminClient

from mailtopic_cli.dlq.errors import AccessDenied, BrokerAway, TakenOver
from mailtopic_cli.dlq.ports import NewRecord, TopicRecord
from mailtopic_cli.dlq.progress import Progress
from mailtopic_client.adapters.kafka_consumer import SafeConsumer
from mailtopic_client.adapters.kafka_diagnosis import Diagnosis
from mailtopic_client.adapters.kafka_partition import FetchedRecord

_RETRY_S = 0.5
_POLL_MS = 500
_MAX_POLL_RECORDS = 500
_FETCH_MAX_WAIT_MS = 20
"""A broker answers a connection's requests in order, so a request for the next partition waits for
the previous fetch: half a second each by default."""
_MAX_REQUEST_BYTES = 4_194_304
_DENIED = (
    errors.TopicAuthorizationFailedError,
    errors.ClusterAuthorizationFailedError,
    errors.TransactionalIdAuthorizationFailed,
    errors.GroupAuthorizationFailedError,
)
_TAKEN_OVER = (errors.ProducerFenced, errors.InvalidProducerEpoch)

T = TypeVar("T")


def on_loop_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Ignore futures that aiokafka abandons when another replay takes over.

    An exception handler of an event loop; the reason of the end is printed without it.
    """
    if not isinstance(context.get("exception"), errors.KafkaError):
        loop.default_exception_handler(context)


class KafkaTopicReader:
    """A consumer without a group; ``async with`` waits for a broker.

    Args:
        client_kwargs: how to reach Kafka, as aiokafka's keyword arguments.
        timeout_s: a broker that doesn't answer for this long counts as unavailable.
        progress: shows the wait for a broker.

    Raises:
        BrokerAway: no broker answers in time.
    """

    def __init__(
        self, client_kwargs: Mapping[str, Any], *, timeout_s: float, progress: Progress
    ) -> None:
        self._client_kwargs = {**client_kwargs, "client_id": "mailtopic-dlq"}
        self._timeout_s = timeout_s
        self._progress = progress
        self._topics: dict[str, int] = {}

    async def __aenter__(self) -> Self:
        diagnosis = Diagnosis(self._client_kwargs)
        try:
            async with asyncio.timeout(self._timeout_s):
                while True:
                    try:
                        return await self._start()
                    except _DENIED:
                        raise AccessDenied("the broker does not allow to list topics") from None
                    except errors.KafkaError:
                        self._progress.say(f"Waiting for Kafka: {await diagnosis.reason()}")
                    await asyncio.sleep(_RETRY_S)
        except TimeoutError:
            raise BrokerAway(self._away(await diagnosis.reason())) from None

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await _stop_quietly(self._consumer)

    async def _start(self) -> Self:
        admin = AIOKafkaAdminClient(**self._client_kwargs)
        try:
            await admin.start()
            # List all topics: naming a missing one would make some brokers create it.
            found = await admin.describe_topics()
            self._topics = {topic["topic"]: len(topic["partitions"]) for topic in found}
        finally:
            await admin.close()
        consumer = SafeConsumer(
            **self._client_kwargs,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=_FETCH_MAX_WAIT_MS,
            # Uncommitted records of an interrupted replay are skipped.
            isolation_level="read_committed",
        )
        try:
            await consumer.start()
        except BaseException:
            await _stop_quietly(consumer)
            raise
        self._consumer = consumer
        return self

    async def partitions(self, topic: str) -> int:
        """See `TopicReader.partitions`."""
        return self._topics.get(topic, 0)

    async def read(
        self, topic: str, partition: int, *, since_ms: int | None = None, offset: int = 0
    ) -> AsyncGenerator[Sequence[TopicRecord], None]:
        """See `TopicReader.read`."""
        place = aiokafka.TopicPartition(topic, partition)
        consumer = self._consumer
        consumer.assign([place])
        position, end = await self._answered(self._bounds(place, since_ms, offset))
        if position >= end:
            return
        consumer.seek(place, position)
        quiet_s = 0.0
        while position < end:
            batches = await consumer.getmany(
                place, timeout_ms=_POLL_MS, max_records=_MAX_POLL_RECORDS
            )
            records = [_record(fetched) for fetched in batches.get(place, ())]
            before, position = position, await self._answered(consumer.position(place))
            quiet_s = 0.0 if position != before else quiet_s + _POLL_MS / 1000
            self._check_readable(place)
            if quiet_s >= self._timeout_s:
                raise BrokerAway(self._away("no broker answers any more"))
            if records:
                yield [record for record in records if record.offset < end]

    def _check_readable(self, place: aiokafka.TopicPartition) -> None:
        problem = self._consumer.partition_errors.get(place)
        if problem in [denied.__name__ for denied in _DENIED]:
            raise AccessDenied("the broker does not allow to read the topic")
        if problem is not None:
            raise BrokerAway(f"the broker can't read {place.topic}/{place.partition}: {problem}")

    async def _bounds(
        self, place: aiokafka.TopicPartition, since_ms: int | None, offset: int
    ) -> tuple[int, int]:
        begin: int = (await self._consumer.beginning_offsets([place]))[place]
        end: int = (await self._consumer.end_offsets([place]))[place]
        if since_ms is not None:
            found = (await self._consumer.offsets_for_times({place: max(since_ms, 0)}))[place]
            begin = max(begin, found.offset if found else end)
        return max(begin, offset), end

    async def _answered(self, question: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await question
        except _DENIED:
            raise AccessDenied("the broker does not allow to read the topic") from None
        except (errors.KafkaError, TimeoutError):
            raise BrokerAway(self._away("no broker answers any more")) from None

    def _away(self, reason: str) -> str:
        servers = ",".join(self._client_kwargs["bootstrap_servers"])
        return f"{reason}, {servers}: waited {self._timeout_s:g} s"


class KafkaReplayWriter:
    """A transactional producer (KIP-98) with a transactional id derived from the topic.

    Opening it aborts the transaction of an earlier one, and fences that one off.
    """

    def __init__(self, client_kwargs: Mapping[str, Any], topic: str, *, timeout_s: float) -> None:
        self._client_kwargs = {**client_kwargs, "client_id": "mailtopic-dlq"}
        self._id = f"mailtopic-dlq-replay-{topic}"
        self._timeout_s = timeout_s
        self._producer: aiokafka.AIOKafkaProducer | None = None

    async def open(self) -> None:
        """See `ReplayWriter.open`."""
        producer = aiokafka.AIOKafkaProducer(
            **self._client_kwargs,
            acks="all",
            transactional_id=self._id,
            max_request_size=_MAX_REQUEST_BYTES,
        )
        try:
            async with asyncio.timeout(self._timeout_s):
                await producer.start()
        except (errors.KafkaError, TimeoutError) as error:
            await _stop_quietly(producer)
            _raise_ours(error, self._id)
        self._producer = producer

    async def store(self, records: Sequence[NewRecord]) -> None:
        """See `ReplayWriter.store`."""
        producer = self._producer
        if producer is None:
            raise RuntimeError("the writer is not open")
        try:
            async with asyncio.timeout(self._timeout_s):
                await producer.begin_transaction()
                sent = [await self._send(producer, record) for record in records]
                for result in await asyncio.gather(*sent, return_exceptions=True):
                    if isinstance(result, BaseException):
                        raise result
                await producer.commit_transaction()
        except (errors.KafkaError, TimeoutError) as error:
            _raise_ours(error, self._id)

    async def _send(
        self, producer: aiokafka.AIOKafkaProducer, record: NewRecord
    ) -> asyncio.Future[Any]:
        sending: asyncio.Future[Any] = await producer.send(
            record.topic,
            key=record.key,
            value=record.value,
            headers=list(record.headers),
            partition=record.partition,
        )
        # If a transaction fails before it is awaited, asyncio would print its error.
        sending.add_done_callback(_take_note)
        return sending

    async def close(self) -> None:
        """Disconnect; a transaction that is open is never committed."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await _stop_quietly(producer)


def _record(fetched: FetchedRecord) -> TopicRecord:
    # A record with a fault is no mail, dead letter or outcome: show what could be read.
    return TopicRecord(*fetched[:-1])


def _raise_ours(error: Exception, transactional_id: str) -> NoReturn:
    if isinstance(error, _TAKEN_OVER):
        raise TakenOver(
            "another replay of this topic was started: this one stopped, the other one goes on"
        ) from None
    if isinstance(error, _DENIED):
        raise AccessDenied(
            "the broker does not allow it: a replay writes to the main topic and the status topic"
            f" with the transactional id {transactional_id}"
        ) from None
    raise BrokerAway(
        "the broker did not confirm the last mails: run the same replay again, "
        "which repeats nothing that is stored"
    ) from None


def _take_note(sending: asyncio.Future[Any]) -> None:
    if not sending.cancelled():
        sending.exception()


async def _stop_quietly(client: Any) -> None:
    # Stopping flushes, and a user who has already waited for a broker should not wait again.
    with contextlib.suppress(errors.KafkaError, TimeoutError):
        async with asyncio.timeout(5):
            await client.stop()
