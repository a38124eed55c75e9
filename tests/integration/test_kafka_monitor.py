"""The sender's monitor against a broker that is there and takes no records."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from mailtopic_cli.kafka_node import KafkaNode
from mailtopic_sender.adapters.kafka_monitor import KafkaMonitor
from support.conditions import until


@asynccontextmanager
async def administrator(node: KafkaNode) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=node.bootstrap_servers)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


@asynccontextmanager
async def watching(monitor: KafkaMonitor) -> AsyncIterator[None]:
    task = asyncio.create_task(monitor.watch())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def require_replicas(admin: AIOKafkaAdminClient, topic: str, count: int) -> None:
    configs = {"min.insync.replicas": str(count)}
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs)])


async def test_a_cluster_with_too_few_replicas_counts_as_away(kafka: KafkaNode, topic: str) -> None:
    monitor = KafkaMonitor({"bootstrap_servers": kafka.bootstrap_servers})
    monitor.outcomes_topic = topic
    async with administrator(kafka) as admin:
        await admin.create_topics([NewTopic(topic, 2, 1)])
        async with watching(monitor):
            await until(lambda: monitor.answers, "all is well")
            await require_replicas(admin, topic, 2)
            await until(lambda: not monitor.answers, "it takes no records")
            assert f"a partition of {topic} has fewer than 2 replicas in sync" in (
                monitor.problem or ""
            )
            await require_replicas(admin, topic, 1)
            await until(lambda: monitor.answers, "all is well again")


async def test_without_a_topic_to_look_at_an_answer_is_enough(kafka: KafkaNode) -> None:
    monitor = KafkaMonitor({"bootstrap_servers": kafka.bootstrap_servers})
    async with watching(monitor):
        await until(lambda: monitor.answers, "it answers")
    assert monitor.problem is None
