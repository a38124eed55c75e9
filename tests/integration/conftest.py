"""One real Kafka and one real Kubernetes API a session; each test has topics of its own."""

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from mailtopic_cli.kafka_node import KafkaNode
from support.api_server import ApiServer, running_api_server
from support.brokers import running_node
from support.operators import Operators, install_crds, operators


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


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A Kubernetes API with our CRDs that all tests of the session share; nobody may stop it."""
    for server in running_api_server(tmp_path_factory.mktemp("api"), "integration"):
        install_crds(server)
        yield server


@pytest.fixture
async def mail_operators(
    tmp_path: Path, api_server: ApiServer, kafka: KafkaNode
) -> AsyncIterator[Operators]:
    """Operators of one namespace, on the session's API server and broker."""
    async with operators(tmp_path, api_server, kafka.bootstrap_servers) as found:
        yield found
