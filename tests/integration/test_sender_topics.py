"""The topics that a sender makes, and those that it finds."""

import asyncio
import json
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from mailtopic_cli.kafka_node import KafkaNode
from mailtopic_client import KafkaSettings
from mailtopic_contract import TopicNames
from mailtopic_sender.adapters.kafka_topics import KafkaTopics
from support.conditions import until
from support.senders import Bench


def topics(node: KafkaNode, name: str, partitions: int = 4) -> KafkaTopics:
    kwargs = KafkaSettings(bootstrap_servers=(node.bootstrap_servers,)).client_kwargs()
    return KafkaTopics(kwargs, TopicNames(name), partitions=partitions)


async def partitions_of(node: KafkaNode, name: str) -> dict[str, int]:
    admin = AIOKafkaAdminClient(bootstrap_servers=node.bootstrap_servers)
    await admin.start()
    try:
        found = await admin.describe_topics(list(TopicNames(name).all))
        return {topic["topic"]: len(topic["partitions"]) for topic in found}
    finally:
        await admin.close()


async def create(node: KafkaNode, *wanted: NewTopic) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=node.bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics(list(wanted))
    finally:
        await admin.close()


async def test_senders_that_start_together_make_every_topic_once(
    kafka: KafkaNode, topic: str
) -> None:
    facts = await asyncio.gather(*(topics(kafka, topic).ensure() for _ in range(3)))
    assert {fact.partitions for fact in facts} == {4}
    assert set((await partitions_of(kafka, topic)).values()) == {4}


async def test_a_topic_that_exists_is_adopted_and_its_satellites_follow_it(
    kafka: KafkaNode, topic: str
) -> None:
    await create(
        kafka,
        NewTopic(topic, 3, 1, topic_configs={"max.message.bytes": "2000000"}),
        NewTopic(f"{topic}.dlq", 1, 1),
    )
    facts = await topics(kafka, topic, partitions=12).ensure()
    assert (facts.partitions, facts.max_record_bytes) == (3, 2_000_000)
    await until(lambda: _all_have(kafka, topic, 3), "every topic has three partitions")


async def _all_have(node: KafkaNode, topic: str, count: int) -> bool:
    return set((await partitions_of(node, topic)).values()) == {count}


async def test_a_new_group_starts_with_the_earliest_record(
    kafka: KafkaNode, topic: str, tmp_path: Path
) -> None:
    async with Bench(tmp_path, kafka.bootstrap_servers, topic) as bench:
        await topics(kafka, topic, partitions=6).ensure()
        value = json.dumps({"email": "early@example.com", "code": "1234"}).encode()
        await bench.broker.publish(topic, key=None, value=value, partition=5)
        await bench.start_ready()
        await bench.delivered(["early@example.com"])


async def test_a_taken_port_and_an_unreadable_file_end_it_with_one_line(
    kafka: KafkaNode, topic: str, tmp_path: Path
) -> None:
    async with Bench(tmp_path, kafka.bootstrap_servers, topic) as bench:
        bad = {
            "MAILTOPIC_METRICS__PORT": str(bench.relay.port),
            "MAILTOPIC_SEALING__KEYS_FILE": "/nowhere/keys.json",
            "MAILTOPIC_SMTP__CA_FILE": "/nowhere/ca.pem",
            "MAILTOPIC_FROM__ADDRESS": "nobody",
        }
        for number, (name, value) in enumerate(bad.items()):
            bench.settings = {name: value}
            sender = bench.start(f"sender{number}")
            assert await asyncio.wait_for(sender.wait(), 30) == 2
            lines = (tmp_path / f"sender{number}.log").read_text().splitlines()
            assert len(lines) == 1
            assert lines[0].startswith(f"mailtopic-sender: {name}: ")
