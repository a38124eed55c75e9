"""Real Kafka for the integration tests: one broker a session, topics of their own for each test."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailtopic_cli.kafka_node import KafkaNode
from support.brokers import running_node


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaNode]:
    """A broker that all tests of the session share; nobody may stop it."""
    yield from running_node(tmp_path_factory.mktemp("kafka"), "integration")


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[KafkaNode]:
    """A broker of the test's own, to be stopped, killed and started again as it likes."""
    yield from running_node(tmp_path / "kafka", "integration")


@pytest.fixture
def topic() -> str:
    """The name of a main topic that no other test uses."""
    return f"mails-{uuid.uuid4().hex[:8]}"
