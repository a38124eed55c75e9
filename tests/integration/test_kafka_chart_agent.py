"""The jar of the Kafka chart in and beside real brokers: probes, metrics, users and ACLs."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import aiokafka
import pytest
from aiokafka.errors import TopicAuthorizationFailedError
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from mailtopic_cli.kafka_node import fetch_class_path
from mailtopic_client import KafkaClient, KafkaSettings, RecordRefused
from mailtopic_contract import TopicNames
from mailtopic_observability import shown_metrics
from mailtopic_sender.adapters.kafka_topics import KafkaTopics
from support.conditions import until
from support.helm import CHARTS, helm_clients
from support.kafka_chart import AGENT, AgentNode, ChartBroker, ask
from support.kafka_cluster import KafkaCluster
from support.ports import free_ports
from support.requirements import require

QUORUM_LOSS_S = 60
"""Five seconds without a commit and a turn of the voter's states, on a machine with other work."""


@pytest.mark.parametrize(
    ("role", "alone"),
    [("leader", "prospective"), ("follower", "follower"), ("observer", "observer")],
)
async def test_a_node_is_ready_while_the_quorum_commits(
    tmp_path: Path, role: str, alone: str
) -> None:
    """Even where a node that is left alone says that it is what it was before."""
    cluster = KafkaCluster(tmp_path, AgentNode, observers=int(role == "observer"))
    nodes = [node for node in cluster.nodes.values() if isinstance(node, AgentNode)]
    try:
        await cluster.start()
        for node in nodes:
            await until(partial(is_ready, node), "it is ready")
            assert ask(node.agent_port, "/startupz")[0] == 200
        await leader_of(nodes)
        other = next(node for node in nodes if state(node) == "follower")
        await other.kill()
        left = [node for node in nodes if node is not other]
        for node in left:
            await until_commit(node)
            assert is_ready(node)
        leader = await leader_of(left)
        stays = next(node for node in left if state(node) == role)
        last = leader if stays is not leader else next(node for node in left if node is not leader)
        await last.kill()
        await until(
            lambda: readiness(stays) == (False, alone),
            f"without a quorum, and saying {alone}, it is not ready",
            timeout_s=QUORUM_LOSS_S,
        )
        assert ask(stays.agent_port, "/livez")[0] == 200
        await other.start()
        await until(partial(is_ready, stays), "it is ready again")
    finally:
        await cluster.stop()


def readiness(node: AgentNode) -> tuple[bool, str]:
    """Whether a node is ready, and what it says that it is in the quorum, by one answer."""
    code, text = ask(node.agent_port, "/readyz")
    (said,) = re.findall(r"^quorumState (.+)$", text, re.MULTILINE)
    return code == 200, said


def is_ready(node: AgentNode) -> bool:
    return readiness(node)[0]


def state(node: AgentNode) -> str:
    return readiness(node)[1]


async def until_commit(node: AgentNode) -> None:
    """Wait until a node has got another commit of the quorum's."""
    before = high_watermark(node)
    await until(lambda: high_watermark(node) > before, "the quorum commits")


def high_watermark(node: AgentNode) -> float:
    """How far the quorum has committed, as far as a node knows."""
    text = ask(node.agent_port, "/metrics")[1]
    (found,) = re.findall(r"^kafka_server_raft_metrics_high_watermark (.+)$", text, re.MULTILINE)
    return float(found)


async def leader_of(nodes: list[AgentNode]) -> AgentNode:
    """The node that leads the quorum."""
    await until(lambda: any(state(node) == "leader" for node in nodes), "a leader")
    return next(node for node in nodes if state(node) == "leader")


async def test_metrics_are_what_prometheus_reads(tmp_path: Path) -> None:
    port, controller_port = free_ports(2)
    node = AgentNode(tmp_path, port=port, controller_port=controller_port)
    await node.start()
    try:
        kwargs = KafkaSettings(bootstrap_servers=(node.bootstrap_servers,)).client_kwargs()
        await KafkaTopics(kwargs, TopicNames("mails"), partitions=2).ensure()
        async with aiokafka.AIOKafkaProducer(**kwargs) as producer:
            for _ in range(3):
                await producer.send_and_wait("mails", b"x", partition=1)
        code, text = ask(node.agent_port, "/metrics")
    finally:
        await node.stop()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    values = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in families.values()
        for sample in family.samples
    }
    assert code == 200
    assert values["kafka_log_log_logendoffset", ("partition", "1"), ("topic", "mails")] == 3
    assert values["kafka_server_brokertopicmetrics_messagesin_total", ("topic", "mails")] == 3
    assert values["kafka_network_requestmetrics_requests_total", ("request", "Produce")] == 3
    assert values["kafka_server_kafkaserver_brokerstate",] == 3
    assert values["kafka_controller_kafkacontroller_activecontrollercount",] == 1
    assert values["kafka_server_replicamanager_underreplicatedpartitions",] == 0
    assert values["kafka_server_replicamanager_underminisrpartitioncount",] == 0
    assert values["kafka_controller_kafkacontroller_offlinepartitionscount",] == 0
    assert values["kafka_server_raft_metrics_current_leader",] == 1
    assert values["jvm_memory_used_bytes", ("area", "heap")] > 1e6
    assert "jvm_gc_collection_seconds" in families
    assert "mailtopic_kafka_agent_disk_free_bytes" in families
    if os.environ.get("MAILTOPIC_UPDATE_GOLDEN"):
        shown_metrics.KAFKA.keep(shown_metrics.shape_of(text))
    assert shown_metrics.shape_of(text) == shown_metrics.KAFKA.shape


@pytest.fixture
async def secured(tmp_path: Path) -> AsyncIterator[ChartBroker]:
    """A broker with the chart's own settings, users and ACLs."""
    if not helm_clients():
        require("integration", "there is no helm: `make cluster` builds it")
    broker = ChartBroker(helm_clients()[-1], tmp_path, await fetch_class_path())
    broker.format()
    broker.format()  # every start of a pod does it
    broker.start()
    try:
        yield broker
    finally:
        await broker.stop()


def settings(broker: ChartBroker, user: str, password: str | None = None) -> KafkaSettings:
    return KafkaSettings(
        bootstrap_servers=(f"localhost:{broker.client_port}",),
        security_protocol="SASL_SSL",
        username=user,
        password=SecretStr(password or broker.password(user)),
        ca_file=str(broker.directory / "tls" / "ca.crt"),
    )


async def test_a_user_may_do_what_its_service_does_and_no_more(secured: ChartBroker) -> None:
    assert "user signup: credentials set, ACLs +6 -0" in secured.grant_access()
    sender = settings(secured, "sender").client_kwargs()
    names = TopicNames("mails")
    await KafkaTopics(sender, names, partitions=1).ensure()

    signup = KafkaClient(settings(secured, "signup"), publish_timeout_s=10)
    await signup.publish("mails", key=b"k", value=b"v")
    await signup.publish("mails.status", key=b"k", value=b"v")
    with pytest.raises(RecordRefused) as refused:
        await signup.publish("mails.dlq", key=b"k", value=b"v")
    assert refused.value.reason == "not-allowed"
    await signup.close()

    async with aiokafka.AIOKafkaConsumer(
        "mails", **sender, group_id="mails", auto_offset_reset="earliest"
    ) as consumer:
        assert (await consumer.getone()).value == b"v"
        await consumer.commit()
    spy = settings(secured, "operator").client_kwargs()
    async with aiokafka.AIOKafkaConsumer(**spy, auto_offset_reset="earliest") as consumer:
        consumer.assign([aiokafka.TopicPartition("mails", 0)])
        with pytest.raises(TopicAuthorizationFailedError):
            await consumer.getone()


async def test_who_has_a_wrong_password_or_is_taken_away_gets_nowhere(
    secured: ChartBroker,
) -> None:
    secured.grant_access()
    assert await connects(settings(secured, "sender"))
    assert not await connects(settings(secured, "sender", "guessed"))
    # Doing it twice changes nothing, and ACLs that are no longer wanted go.
    assert "user signup: credentials set, ACLs +0 -0" in secured.grant_access()
    secured.change_rules(r"allow signup Group.*\n", "")
    secured.change_rules(r"user sender .*\n(allow sender .*\n)+", "absent sender\n")
    told = secured.grant_access()
    assert "user signup: credentials set, ACLs +0 -1" in told
    assert "user sender: removed, ACLs +0 -8" in told
    assert not await connects(settings(secured, "sender"))
    assert await connects(settings(secured, "signup"))


async def connects(kafka: KafkaSettings) -> bool:
    """Whether a broker lets a client in, or has refused it."""
    client = KafkaClient(kafka)
    connecting = asyncio.ensure_future(client.connect())
    try:
        await until(lambda: connecting.done() or client.problem != "not connected", "an answer")
        return client.problem is None
    finally:
        connecting.cancel()
        await client.close()


async def test_the_jar_is_what_its_sources_make(tmp_path: Path) -> None:
    if not shutil.which("javac"):
        pytest.skip("there is no javac to build the agent with")
    await fetch_class_path()
    built = tmp_path / "kafka-agent.jar"
    script = CHARTS / "kafka" / "agent" / "build.py"
    subprocess.run([sys.executable, script, "--output", built], check=True, timeout=100)  # noqa: S603, ASYNC221
    if jdk(built) != jdk(AGENT):
        pytest.skip("another javac than the one that built the agent makes other bytes")
    assert built.read_bytes() == AGENT.read_bytes()


def jdk(jar: Path) -> str:
    manifest = zipfile.ZipFile(jar).read("META-INF/MANIFEST.MF").decode()
    return next(line for line in manifest.splitlines() if line.startswith("Build-Jdk-Spec"))
