"""One broker for tests, or a skip with the reason."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

from mailtopic_cli.kafka_distribution import DistributionError
from mailtopic_cli.kafka_node import KafkaNode
from support.ports import free_ports
from support.requirements import require


def running_node(data_dir: Path, tier: str) -> Iterator[KafkaNode]:
    """A broker that runs until the iterator is asked again; skips if it can't be fetched."""
    port, controller_port = free_ports(2)
    node = KafkaNode(data_dir, port=port, controller_port=controller_port)
    try:
        asyncio.run(node.start())
    except DistributionError as error:
        require(tier, f"Apache Kafka can't be fetched: {error}")
    yield node
    asyncio.run(node.stop())
