"""Real Kafka for the fault tests: one broker a session, topics of their own for each test."""

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from mailtopic_cli.kafka_node import KafkaNode
from support.brokers import running_node
from support.fault_bench import FaultBench


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaNode]:
    """A broker that all tests of the session share; nobody may stop it."""
    yield from running_node(tmp_path_factory.mktemp("kafka"), "faults")


@pytest.fixture
def topic() -> str:
    """The name of a main topic that no other test uses."""
    return f"mails-{uuid.uuid4().hex[:8]}"


@pytest.fixture
async def bench(kafka: KafkaNode, topic: str, tmp_path: Path) -> AsyncIterator[FaultBench]:
    async with FaultBench(tmp_path, kafka.bootstrap_servers, topic) as bench:
        yield bench
