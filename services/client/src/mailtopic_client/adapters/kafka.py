"""aiokafka's producer as a BrokerClient."""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from typing import Any, NoReturn

import aiokafka
from aiokafka import errors
from aiokafka.partitioner import DefaultPartitioner

from mailtopic_client.adapters.kafka_batch import fill
from mailtopic_client.adapters.kafka_diagnosis import Diagnosis
from mailtopic_client.errors import BrokerUnavailable, RecordRefused
from mailtopic_client.ports import HeaderList, OutgoingRecord, RecordMetadata
from mailtopic_client.settings import KafkaSettings
from mailtopic_runtime import StateLog, get_logger

DEFAULT_MAX_REQUEST_BYTES = 1_048_576
SILENCE_S = 2.0
"""A broker that takes longer to acknowledge a record is reported as unavailable, once."""

CLOSE_TIMEOUT_S = 4.0
"""How long `close` waits for records in flight; without a broker it would wait forever."""

MAX_BATCH_BYTES = 131_072
"""Size limit of one partition's batch: about 600 outcomes. Brokers accept 1 MiB by default."""

_RETRY_S = 1.0
_SLOW_START_S = 5.0
_REFUSED = {
    errors.MessageSizeTooLargeError: ("too-large", "the record is larger than its topic allows"),
    errors.RecordListTooLargeError: ("too-large", "the record is larger than its topic allows"),
    errors.UnknownTopicOrPartitionError: ("unknown-topic", "the topic does not exist"),
    errors.InvalidTopicError: ("unknown-topic", "the topic's name is not valid"),
    errors.TopicAuthorizationFailedError: ("not-allowed", "writing to the topic is not allowed"),
    errors.ClusterAuthorizationFailedError: ("not-allowed", "writing is not allowed"),
    errors.InvalidTimestampError: ("invalid", "the topic refuses the record's timestamp"),
    errors.PolicyViolationError: ("invalid", "the record violates the broker's policy"),
}
# A refused batch leaves a gap in the sequence numbers: the broker then refuses everything
# that follows on the partition, and only a new producer id (KIP-98) helps.
_SPOILED = (
    errors.OutOfOrderSequenceNumber,
    errors.UnknownProducerId,
    errors.InvalidProducerEpoch,
    errors.InvalidProducerIdMapping,
    errors.ProducerFenced,
    errors.ProducerClosed,
)


_Send = Callable[[aiokafka.AIOKafkaProducer], Coroutine[Any, Any, aiokafka.structs.RecordMetadata]]


class KafkaClient:
    """Publishes records through one idempotent producer with acks=all.

    Records of one partition are stored in the order in which `publish` was called, as long as
    none of them was refused.

    Args:
        settings: how to reach Kafka.
        client_id: how the broker's logs and quotas call this client.
        publish_timeout_s: when `publish` gives up waiting for the acknowledgement; the record can
            still be stored later, so publishing it again can store it twice. None waits as long as
            it takes: the producer repeats by itself, under the same sequence number.
        max_request_bytes: the largest record that is sent.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        *,
        client_id: str = "mailtopic",
        publish_timeout_s: float | None = 30.0,
        max_request_bytes: int = DEFAULT_MAX_REQUEST_BYTES,
    ) -> None:
        self._kwargs = settings.client_kwargs() | {"client_id": client_id}
        self._publish_timeout_s = publish_timeout_s
        self._max_request_bytes = max_request_bytes
        self._producer: aiokafka.AIOKafkaProducer | None = None
        self._lock = asyncio.Lock()
        self._acknowledged_s = 0.0
        self._state = StateLog(get_logger(__name__), "broker")
        self._diagnosis = Diagnosis(self._kwargs)

    @property
    def problem(self) -> str | None:
        """Why records can't be published just now, in words; None while they can."""
        if self._producer is None:
            return self._state.reason or "not connected"
        return self._state.reason

    async def connect(self) -> None:
        """Wait until a broker answers; one log line says so if none does."""
        await self._connected()

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
        if key is None and value is None:
            raise RecordRefused("invalid", "a record needs a key or a value")
        record = {
            "key": key,
            "value": value,
            "headers": list(headers),
            "partition": partition,
            "timestamp_ms": timestamp_ms,
        }
        async with self._in_time():
            if partition is not None:
                await self._know(topic, partition)
            return await self._repeat(
                lambda producer: _sent(lambda: producer.send(topic, **record))
            )

    async def publish_batch(
        self, topic: str, partition: int, records: Sequence[OutgoingRecord]
    ) -> Sequence[int]:
        """See `BrokerClient.publish_batch`."""
        if not records:
            raise ValueError("a batch holds a record at least")
        offsets: list[int] = []
        most = len(records)
        async with self._in_time():
            await self._know(topic, partition)
            while len(offsets) < len(records):
                next_ones = records[len(offsets) : len(offsets) + most]
                try:
                    offsets += await self._publish_some(topic, partition, next_ones)
                except RecordRefused as refused:
                    # The topic may allow less than a full batch, and still each of its records.
                    if refused.reason != "too-large" or len(next_ones) == 1:
                        raise
                    most = len(next_ones) // 2
        return offsets

    async def partitions_for(self, topic: str, keys: Sequence[bytes]) -> list[int]:
        """See `BrokerClient.partitions_for`."""
        async with self._in_time():
            producer = await self._connected()
            try:
                partitions = sorted(await producer.partitions_for(topic))
            except errors.KafkaError as error:
                _raise_ours(error)
        choose = DefaultPartitioner()
        return [choose(key, partitions, partitions) for key in keys]

    async def close(self) -> None:
        """Wait a few seconds for records in flight, then disconnect.

        What isn't acknowledged by then may be stored or not.
        """
        async with self._lock:
            producer, self._producer = self._producer, None
        if producer is not None:
            await _stop_in_time(producer)

    @contextlib.asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._publish_timeout_s):
                yield
        except TimeoutError:
            raise BrokerUnavailable("the broker did not acknowledge the record in time") from None

    async def _know(self, topic: str, partition: int) -> None:
        """Make sure that the producer has a partition, which may be newer than its metadata.

        Raises:
            RecordRefused: the topic has no such partition.
        """
        producer = await self._connected()
        known = producer.client.cluster.partitions_for_topic(topic)
        if known is None or partition in known:
            return  # metadata of a topic without any is fetched when a record is sent
        await producer.client.force_metadata_update()
        if partition not in (producer.client.cluster.partitions_for_topic(topic) or {partition}):
            raise RecordRefused("unknown-topic", f"the topic has no partition {partition}")

    async def _repeat(self, send: _Send) -> RecordMetadata:
        while True:
            producer = await self._connected()
            try:
                stored = await self._acknowledged(send(producer))
            except _SPOILED:
                # Nothing of it was stored, so it may be sent again under a new id.
                await self._replace(producer)
            except errors.KafkaError as error:
                if _is_dead(producer):
                    # Its sending task has failed; from now on it only repeats the error.
                    await self._replace(producer)
                _raise_ours(error)
            else:
                self._state.up()
                return RecordMetadata(stored.topic, stored.partition, stored.offset)

    async def _publish_some(
        self, topic: str, partition: int, records: Sequence[OutgoingRecord]
    ) -> range:
        """Store as many of the records as fit in one batch; return their offsets."""
        count = 0

        async def send(producer: aiokafka.AIOKafkaProducer) -> aiokafka.structs.RecordMetadata:
            # Filled for each attempt: a batch keeps the sequence number that it was sent under.
            nonlocal count
            batch = producer.create_batch()
            count = fill(batch, records, max_record_bytes=self._max_request_bytes)
            return await _sent(lambda: producer.send_batch(batch, topic, partition=partition))

        first = await self._repeat(send)
        return range(first.offset, first.offset + count)

    async def _acknowledged(
        self, send: Coroutine[Any, Any, aiokafka.structs.RecordMetadata]
    ) -> aiokafka.structs.RecordMetadata:
        sending = asyncio.ensure_future(send)
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        try:
            await asyncio.wait({sending}, timeout=SILENCE_S)
            # If it acknowledges others, only one topic or partition is at fault.
            if not sending.done() and self._acknowledged_s < begun_s:
                self._state.down("the broker does not acknowledge records")
            stored = await sending
        except asyncio.CancelledError:
            sending.cancel()
            raise
        else:
            self._acknowledged_s = loop.time()
            return stored

    async def _connected(self) -> aiokafka.AIOKafkaProducer:
        producer = self._producer
        if producer is None:
            async with self._lock:
                producer = self._producer or await self._start()
                self._producer = producer
        return producer

    async def _start(self) -> aiokafka.AIOKafkaProducer:
        while True:
            producer = aiokafka.AIOKafkaProducer(
                **self._kwargs,
                acks="all",
                enable_idempotence=True,
                linger_ms=0,
                max_request_size=self._max_request_bytes,
                max_batch_size=MAX_BATCH_BYTES,
            )
            if self._publish_timeout_s is None:
                _keep_for_ever(producer)
            try:
                await self._started(producer)
            except errors.KafkaError:
                self._state.down(await self._diagnosis.reason())
            except BaseException:
                await _stop_quietly(producer)
                raise
            else:
                self._state.up()
                return producer
            await _stop_quietly(producer)
            await asyncio.sleep(_RETRY_S)

    async def _started(self, producer: aiokafka.AIOKafkaProducer) -> None:
        """Start a producer; if that takes long, log the reason before giving up."""
        starting = asyncio.ensure_future(producer.start())
        try:
            await asyncio.wait({starting}, timeout=_SLOW_START_S)
            if not starting.done():
                self._state.down(await self._diagnosis.reason())
            await starting
        finally:
            starting.cancel()
            await asyncio.wait({starting})

    async def _replace(self, spoiled: aiokafka.AIOKafkaProducer) -> None:
        async with self._lock:
            if self._producer is spoiled:
                self._producer = None
        await _stop_quietly(spoiled)


async def _sent(
    queue: Callable[[], Awaitable[Awaitable[aiokafka.structs.RecordMetadata]]],
) -> aiokafka.structs.RecordMetadata:
    """Queue records, however long those before them take, and wait until they are stored."""
    while True:
        try:
            queued = await queue()
        except errors.KafkaTimeoutError:
            # Nothing was queued. During an outage aiokafka 0.14 gives up within seconds: each time
            # that another batch takes the free place, it subtracts the whole wait once more.
            continue
        return await queued


def _keep_for_ever(producer: aiokafka.AIOKafkaProducer) -> None:
    # A record that waits for 40 s (request_timeout_ms) is given up while its partition has no
    # leader, such as just after an outage, although it may be stored already (aiokafka 0.14,
    # MessageAccumulator.drain_by_nodes). There is no setting for this alone.
    producer._message_accumulator._batch_ttl = math.inf  # noqa: SLF001


def _is_dead(producer: aiokafka.AIOKafkaProducer) -> bool:
    task = producer._sender.sender_task  # noqa: SLF001 - there is no public API for it
    return task is not None and task.done()


async def _stop_in_time(producer: aiokafka.AIOKafkaProducer) -> None:
    stopping = asyncio.ensure_future(_stop_quietly(producer))
    await asyncio.wait({stopping}, timeout=CLOSE_TIMEOUT_S)
    if stopping.done():
        return
    # The remaining records can't be delivered: cancel the sender, so that no task is left running.
    task = producer._sender.sender_task  # noqa: SLF001 - there is no public API to end it
    for unfinished in (stopping, task):
        if unfinished is not None:
            unfinished.cancel()
    await producer.client.close()


async def _stop_quietly(producer: aiokafka.AIOKafkaProducer) -> None:
    with contextlib.suppress(errors.KafkaError):
        await producer.stop()


def _raise_ours(error: errors.KafkaError) -> NoReturn:
    for kind, (reason, message) in _REFUSED.items():
        if isinstance(error, kind):
            raise RecordRefused(reason, message) from None
    raise BrokerUnavailable("the broker did not acknowledge the record") from error
