"""KafkaClient against a real broker."""

import asyncio

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from mailtopic_cli.kafka_node import KafkaNode
from mailtopic_client import (
    BrokerUnavailable,
    KafkaClient,
    KafkaSettings,
    MailSender,
    RecordRefused,
)
from mailtopic_contract import (
    KeyRing,
    LegacyDefaults,
    MailSeal,
    RecordOrigin,
    decode_headers,
    decode_record,
    open_variables,
)

LEGACY = LegacyDefaults(locale="ru", max_age_ms=600_000)


def settings(node: KafkaNode) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=(node.bootstrap_servers,))


async def create_topic(node: KafkaNode, name: str, **configs: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=node.bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, 2, 1, topic_configs=configs)])
    finally:
        await admin.close()


async def test_a_code_that_another_service_sends_can_be_read_from_its_record(
    kafka: KafkaNode, topic: str
) -> None:
    await create_topic(kafka, topic)
    keyring = KeyRing.generate()
    client = KafkaClient(settings(kafka))
    await client.connect()
    mail_id = await MailSender(client, topic=topic, keyring=keyring).send_code("123456", "a@b.test")
    await client.close()

    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=kafka.bootstrap_servers, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        stored = await asyncio.wait_for(consumer.getone(), 30)
    finally:
        await consumer.stop()
    origin = RecordOrigin(topic, stored.partition, stored.offset, stored.timestamp)
    record = decode_record(stored.value, origin=origin, legacy=LEGACY)
    assert record.id == mail_id == decode_headers(stored.headers).mail_id
    assert stored.key == record.address.partition_key
    assert b"123456" not in stored.value
    assert open_variables(record, MailSeal(keyring, topic)) == {"code": "123456"}


async def test_a_record_that_is_too_large_is_refused_and_the_next_ones_are_stored(
    kafka: KafkaNode, topic: str
) -> None:
    # The broker refuses the first; its missing sequence number must not spoil what follows.
    await create_topic(kafka, topic, **{"max.message.bytes": "2000"})
    client = KafkaClient(settings(kafka), max_request_bytes=100_000)
    await client.connect()
    try:
        with pytest.raises(RecordRefused) as refused:
            await client.publish(topic, key=b"k", value=b"x" * 50_000, partition=0)
        stored = [
            await client.publish(topic, key=b"k", value=b"%d" % number, partition=0)
            for number in range(5)
        ]
    finally:
        await client.close()
    assert refused.value.reason == "too-large"
    assert [metadata.offset for metadata in stored] == [0, 1, 2, 3, 4]


async def test_a_topic_that_does_not_exist_refuses_the_record(kafka: KafkaNode, topic: str) -> None:
    quick = KafkaSettings(bootstrap_servers=(kafka.bootstrap_servers,), request_timeout_s=1)
    client = KafkaClient(quick)
    await client.connect()
    try:
        with pytest.raises(RecordRefused) as refused:
            await client.publish(topic, key=b"k", value=b"v")
    finally:
        await client.close()
    assert refused.value.reason == "unknown-topic"


async def test_records_published_while_the_broker_is_killed_are_stored_once_it_is_back(
    own_kafka: KafkaNode, topic: str
) -> None:
    await create_topic(own_kafka, topic)
    client = KafkaClient(settings(own_kafka), publish_timeout_s=None)
    await client.connect()
    await client.publish(topic, key=b"k", value=b"0", partition=0)
    await own_kafka.kill()
    pending = [
        asyncio.create_task(client.publish(topic, key=b"k", value=b"%d" % number, partition=0))
        for number in range(1, 101)
    ]
    await own_kafka.start()
    stored = await asyncio.wait_for(asyncio.gather(*pending), 60)
    await client.close()
    assert [metadata.offset for metadata in stored] == list(range(1, 101))


async def test_publishing_gives_up_after_its_timeout_while_no_broker_answers(
    own_kafka: KafkaNode, topic: str
) -> None:
    await create_topic(own_kafka, topic)
    client = KafkaClient(settings(own_kafka), publish_timeout_s=0.3)
    await client.connect()
    await own_kafka.kill()
    with pytest.raises(BrokerUnavailable):
        await client.publish(topic, key=b"k", value=b"v")
    await own_kafka.start()
    await client.close()


async def test_a_producer_whose_sending_task_died_is_replaced(kafka: KafkaNode, topic: str) -> None:
    await create_topic(kafka, topic)
    client = KafkaClient(settings(kafka), publish_timeout_s=None)
    await client.publish(topic, key=b"k", value=b"1")

    def fail(**_: object) -> None:
        raise RuntimeError("a bug in the client library")

    producer = client._producer  # noqa: SLF001 - nothing public makes it fail
    producer._message_accumulator.drain_by_nodes = fail  # type: ignore[union-attr] # noqa: SLF001
    with pytest.raises(BrokerUnavailable):
        await asyncio.wait_for(client.publish(topic, key=b"k", value=b"2"), 30)
    stored = await asyncio.wait_for(client.publish(topic, key=b"k", value=b"3"), 30)
    assert stored.offset == 1
    await client.close()


async def test_closing_without_a_broker_takes_seconds(own_kafka: KafkaNode, topic: str) -> None:
    await create_topic(own_kafka, topic)
    client = KafkaClient(settings(own_kafka), publish_timeout_s=None)
    await client.publish(topic, key=b"k", value=b"1")
    await own_kafka.kill()
    waiting = asyncio.create_task(client.publish(topic, key=b"k", value=b"2"))
    await asyncio.sleep(0)
    await asyncio.wait_for(client.close(), 15)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
