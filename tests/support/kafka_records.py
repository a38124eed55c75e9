"""Read what is stored in Kafka, from the outside."""

import asyncio
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient


@dataclass(frozen=True, slots=True)
class Stored:
    """A record as it is stored."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]

    @property
    def header(self) -> dict[str, bytes]:
        return dict(self.headers)


async def topics_of(bootstrap_servers: str, main: str) -> dict[str, int]:
    """The topics of a MailTopic with their number of partitions."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        names = [name for name in await admin.list_topics() if (name + ".").startswith(f"{main}.")]
        found = await admin.describe_topics(names)
    finally:
        await admin.close()
    return {topic["topic"]: len(topic["partitions"]) for topic in found}


async def read_everything(bootstrap_servers: str, main: str, *topics: str) -> list[Stored]:
    """Every record that the topics hold now; of all of the MailTopic's topics by default."""
    partitions = [
        TopicPartition(name, number)
        for name, count in (await topics_of(bootstrap_servers, main)).items()
        for number in range(count)
        if not topics or name in topics
    ]
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap_servers,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_partition_fetch_bytes=8_000_000,
    )
    await consumer.start()
    try:
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        async with asyncio.timeout(60):
            return await _read_to(consumer, ends)
    finally:
        await consumer.stop()


async def _read_to(consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int]) -> list[Stored]:
    found: list[Stored] = []
    while any([await consumer.position(place) < end for place, end in ends.items()]):
        for place, records in (await consumer.getmany(timeout_ms=200)).items():
            found += [
                Stored(
                    place.topic,
                    place.partition,
                    record.offset,
                    record.key,
                    record.value,
                    tuple(record.headers),
                )
                for record in records
            ]
    return found
