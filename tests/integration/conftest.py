"""Real Kafka for the integration tests: one broker a session, topics of their own for each test."""

import asyncio
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailtopic_cli.kafka_distribution import DistributionError
from mailtopic_cli.kafka_node import KafkaNode
from support.ports import free_ports
from support.requirements import require


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaNode]:
    """A broker that all tests of the session share; nobody may stop it."""
    yield from _node(tmp_path_factory.mktemp("kafka"))


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[KafkaNode]:
    """A broker of the test's own, to be stopped, killed and started again as it likes."""
    yield from _node(tmp_path / "kafka")


@pytest.fixture
def topic() -> str:
    """The name of a main topic that no other test uses."""
    return f"mails-{uuid.uuid4().hex[:8]}"


def _node(data_dir: Path) -> Iterator[KafkaNode]:
    port, controller_port = free_ports(2)
    node = KafkaNode(data_dir, port=port, controller_port=controller_port)
    try:
        asyncio.run(node.start())
    except DistributionError as error:
        require("integration", f"Apache Kafka can't be fetched: {error}")
    yield node
    asyncio.run(node.stop())
