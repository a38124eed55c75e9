"""Topics for tests, made as an administrator would."""

from aiokafka.admin import AIOKafkaAdminClient, NewTopic


async def create_topics(bootstrap_servers: str, *names: str) -> None:
    """Make topics with three partitions each."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, 3, 1) for name in names])
    finally:
        await admin.close()
