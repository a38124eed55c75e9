"""Batches of a KafkaClient against a real broker."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from mailtopic_cli.kafka_node import KafkaNode
from mailtopic_client import (
    KafkaClient,
    KafkaSettings,
    OutgoingRecord,
    RecordRefused,
)
from mailtopic_client.adapters.kafka import MAX_BATCH_BYTES

PARTITION = 1


@asynccontextmanager
async def client_of(
    node: KafkaNode, topic: str, *, timeout_s: float | None = 30, record_bytes: int = 1_000_000
) -> AsyncIterator[KafkaClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=node.bootstrap_servers)
    await admin.start()
    try:
        limit = {"max.message.bytes": str(record_bytes)}
        await admin.create_topics([NewTopic(topic, 2, 1, topic_configs=limit)])
    finally:
        await admin.close()
    settings = KafkaSettings(bootstrap_servers=(node.bootstrap_servers,))
    client = KafkaClient(settings, publish_timeout_s=timeout_s, max_request_bytes=100_000)
    await client.connect()
    try:
        yield client
    finally:
        await client.close()


async def stored(node: KafkaNode, topic: str) -> Sequence[ConsumerRecord]:
    """Read all that the partition holds, up to its end."""
    place = TopicPartition(topic, PARTITION)
    consumer = AIOKafkaConsumer(bootstrap_servers=node.bootstrap_servers)
    await consumer.start()
    try:
        consumer.assign([place])
        await consumer.seek_to_beginning(place)
        end = (await consumer.end_offsets([place]))[place]
        records: list[ConsumerRecord] = []
        while await consumer.position(place) < end:
            records += (await consumer.getmany(timeout_ms=1000)).get(place, [])
        return records
    finally:
        await consumer.stop()


def numbered(count: int, *, value_bytes: int = 0) -> list[OutgoingRecord]:
    return [OutgoingRecord(b"%d" % n, b"%d" % n + b" " * value_bytes) for n in range(count)]


async def test_a_batch_is_stored_in_its_order_and_its_places_are_told(
    kafka: KafkaNode, topic: str
) -> None:
    whole = OutgoingRecord(b"key", None, (("name", b"x"), ("name", b"y")), 1_790_000_000_000)
    async with client_of(kafka, topic) as client:
        first = await client.publish_batch(topic, PARTITION, [*numbered(10), whole])
        second = await client.publish_batch(topic, PARTITION, numbered(1))
    assert (list(first), list(second)) == (list(range(11)), [11])
    records = await stored(kafka, topic)
    assert [record.key for record in records[:10]] == [record.key for record in numbered(10)]
    last = records[10]
    found = OutgoingRecord(last.key, last.value, last.headers, last.timestamp)
    assert found == whole
    assert records[0].timestamp > whole.timestamp_ms  # those without a time of their own: now


async def test_what_no_request_holds_becomes_several(kafka: KafkaNode, topic: str) -> None:
    records = numbered(400, value_bytes=MAX_BATCH_BYTES // 100)
    async with client_of(kafka, topic) as client:
        offsets = await client.publish_batch(topic, PARTITION, records)
    assert list(offsets) == list(range(400))
    assert [record.key for record in await stored(kafka, topic)] == [r.key for r in records]


async def test_a_batch_larger_than_its_topic_allows_is_divided(
    kafka: KafkaNode, topic: str
) -> None:
    records = numbered(50, value_bytes=100)
    async with client_of(kafka, topic, record_bytes=1000) as client:
        offsets = await client.publish_batch(topic, PARTITION, records)
    assert list(offsets) == list(range(50))
    assert [record.key for record in await stored(kafka, topic)] == [r.key for r in records]


async def test_the_places_of_a_divided_batch_are_right_among_the_records_of_others(
    kafka: KafkaNode, topic: str
) -> None:
    records = numbered(50, value_bytes=100)
    settings = KafkaSettings(bootstrap_servers=(kafka.bootstrap_servers,))
    other = KafkaClient(settings)
    async with client_of(kafka, topic, record_bytes=1000) as client:
        await other.publish(topic, key=b"other", value=b"", partition=PARTITION)
        dividing = asyncio.create_task(client.publish_batch(topic, PARTITION, records))
        while not dividing.done():
            await other.publish(topic, key=b"other", value=b"", partition=PARTITION)
        await other.close()
    offsets = dividing.result()
    found = {record.offset: record.key for record in await stored(kafka, topic)}
    assert [found[offset] for offset in offsets] == [record.key for record in records]
    assert offsets[-1] - offsets[0] >= len(records)  # others came in between


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (OutgoingRecord(b"k", b"x" * 200_000), "too-large"),  # more than the client may send
        (OutgoingRecord(b"k", b"x" * 50_000), "too-large"),  # more than the topic takes
        (OutgoingRecord(None, None), "invalid"),
    ],
)
async def test_a_batch_with_a_record_that_nobody_takes_is_refused(
    kafka: KafkaNode, topic: str, bad: OutgoingRecord, reason: str
) -> None:
    async with client_of(kafka, topic, record_bytes=2000) as client:
        with pytest.raises(RecordRefused) as refused:
            await client.publish_batch(topic, PARTITION, [*numbered(2), bad])
        after = await client.publish_batch(topic, PARTITION, numbered(3))
    assert refused.value.reason == reason
    assert after[-1] == len(await stored(kafka, topic)) - 1


async def test_a_batch_of_nothing_is_a_mistake(kafka: KafkaNode, topic: str) -> None:
    async with client_of(kafka, topic) as client:
        with pytest.raises(ValueError, match="a record at least"):
            await client.publish_batch(topic, PARTITION, [])


async def test_keys_choose_their_partitions_as_single_records_do(
    kafka: KafkaNode, topic: str
) -> None:
    keys = [b"%016x" % number for number in range(20)]
    async with client_of(kafka, topic) as client:
        told = await client.partitions_for(topic, keys)
        found = [await client.publish(topic, key=key, value=b"") for key in keys]
    assert told == [metadata.partition for metadata in found]
    assert set(told) == {0, 1}


async def test_a_topic_that_does_not_exist_has_no_partitions(kafka: KafkaNode, topic: str) -> None:
    quick = KafkaSettings(bootstrap_servers=(kafka.bootstrap_servers,), request_timeout_s=1)
    client = KafkaClient(quick)
    with pytest.raises(RecordRefused) as refused:
        await client.partitions_for(topic, [b"key"])
    await client.close()
    assert refused.value.reason == "unknown-topic"


async def test_a_batch_and_a_single_record_share_a_partition(kafka: KafkaNode, topic: str) -> None:
    async with client_of(kafka, topic) as client:
        single, offsets = await asyncio.gather(
            client.publish(topic, key=b"a", value=b"", partition=PARTITION),
            client.publish_batch(topic, PARTITION, numbered(3)),
        )
    assert {single.offset, *offsets} == set(range(4))
    assert len(await stored(kafka, topic)) == 4


async def test_batches_published_while_the_broker_is_killed_are_stored_once_it_is_back(
    own_kafka: KafkaNode, topic: str
) -> None:
    async with client_of(own_kafka, topic, timeout_s=None) as client:
        await client.publish_batch(topic, PARTITION, numbered(1))
        await own_kafka.kill()
        pending = [
            asyncio.create_task(client.publish_batch(topic, PARTITION, numbered(10)))
            for _ in range(5)
        ]
        await own_kafka.start()
        ends = await asyncio.wait_for(asyncio.gather(*pending), 60)
        records = await stored(own_kafka, topic)
    assert sorted(offsets[-1] for offsets in ends) == [10, 20, 30, 40, 50]
    keys = [record.key for record in numbered(10)]
    assert [record.key for record in records] == [b"0", *keys * 5]
