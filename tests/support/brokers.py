"""One broker for tests, or a skip with the reason."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from mailtopic_cli.kafka_distribution import DistributionError
from mailtopic_cli.kafka_node import KafkaNode
from support.ports import free_ports
from support.requirements import require

NodeT = TypeVar("NodeT", bound=KafkaNode)


def running_node(data_dir: Path, tier: str) -> Iterator[KafkaNode]:
    """A broker that runs until the iterator is asked again; skips if it can't be fetched."""
    port, controller_port = free_ports(2)
    yield from started(KafkaNode(data_dir, port=port, controller_port=controller_port), tier)


def started(node: NodeT, tier: str) -> Iterator[NodeT]:
    """A broker that is started, and stopped when the iterator is asked again; skips likewise."""
    try:
        asyncio.run(node.start())
    except DistributionError as error:
        require(tier, f"Apache Kafka can't be fetched: {error}")
    yield node
    asyncio.run(node.stop())
