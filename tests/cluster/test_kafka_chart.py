"""The Kafka chart on a real cluster: one node that keeps its records, three that lose none."""

import json
import time
from collections.abc import Callable, Iterator

import pytest

from localcluster.client import ClusterClient
from support.kube_kafka import KafkaRelease, stop_file
from support.kube_release import RESTRICTED

NODES = {"kafka-0", "kafka-1", "kafka-2"}


@pytest.fixture(scope="module")
def kafka(cluster: ClusterClient, images: None) -> Iterator[KafkaRelease]:
    """Three nodes with TLS, logins and ACLs, where the restricted profile is enforced."""
    del images
    with cluster.namespace("kafka", **RESTRICTED) as namespace:
        kafka = KafkaRelease(cluster, namespace, "secured")
        kafka.put("install")
        yield kafka
        kafka.release.run("uninstall")


def test_one_node_keeps_its_records_and_its_identity(
    cluster: ClusterClient, images: None, figure: Callable[[str], None]
) -> None:
    del images
    with cluster.namespace("kafka", **RESTRICTED) as namespace:
        kafka = KafkaRelease(cluster, namespace, "one-node", helm="helm3")
        client = kafka.client("client")
        began_s = time.monotonic()
        kafka.put("install")
        figure(f"one node, install --wait {time.monotonic() - began_s:.1f} s")
        client.wait_until_idle()
        assert client.run("write", "mails", "ensure") == {"result": "stored"}
        kafka.put("upgrade", "--set=logLevel=warn")  # restarts the node
        assert client.run("count", "mails") == {"stored": 1}
        # The volume outlives the release, and so does whose it is.
        kafka.release.run("uninstall", "--wait")
        kafka.put("install")
        assert client.run("count", "mails") == {"stored": 1}
        assert client.run("write", "mails") == {"result": "stored"}
        kafka.release.run("uninstall")


def test_who_lacks_the_password_the_acl_or_the_label_gets_nowhere(kafka: KafkaRelease) -> None:
    sender = kafka.client("client")
    signup = kafka.client("signup", user="signup")
    stranger = kafka.client("stranger", labelled=False)
    for pod in (sender, signup, stranger):
        pod.wait_until_idle()
    assert sender.run("write", "mails", "ensure")["result"] == "stored"
    assert signup.run("write", "mails")["result"] == "stored"
    assert signup.run("write", "mails.dlq")["result"] == "not-allowed"
    wrong = sender.run("write", "mails", MAILTOPIC_KAFKA__PASSWORD="guessed")
    assert wrong["result"] == "unreachable"
    assert stranger.run("write", "mails")["result"] == "unreachable"


@pytest.mark.timeout(400, func_only=True)
def test_a_rolling_restart_and_a_kill_cost_no_record(
    kafka: KafkaRelease, figure: Callable[[str], None]
) -> None:
    assert kafka.ready_nodes() == NODES
    for what, harm in {"rolling restart": restart_all, "kill -9": kill_one}.items():
        name = what.replace(" ", "-")
        pump = kafka.client(name, "pump", "mails", stop_file())
        pump.wait_until_started()
        began_s = time.monotonic()
        harm(kafka)
        took_s = time.monotonic() - began_s
        result = pump.end()
        figure(f"three secured nodes, {what} {took_s:.1f} s: {result}")
        assert result["errors"] == 0
        assert result["lost"] == 0


def restart_all(kafka: KafkaRelease) -> None:
    kafka.cluster.kubectl(
        *("rollout", "restart", "statefulset/kafka", "--namespace", kafka.namespace)
    )
    kafka.cluster.rollout("statefulset/kafka", namespace=kafka.namespace, timeout_s=240)


def kill_one(kafka: KafkaRelease) -> None:
    restarts = restarts_of(kafka, "kafka-1")
    kafka.release.crash("kafka-1")
    kafka.cluster.until(
        lambda: restarts_of(kafka, "kafka-1") != restarts, "the node has started anew"
    )
    kafka.cluster.until(lambda: kafka.ready_nodes() == NODES, "all are ready", timeout_s=120)


def restarts_of(kafka: KafkaRelease, pod: str) -> tuple[str, int]:
    found = kafka.cluster.get(f"pod/{pod}", namespace=kafka.namespace)
    statuses = found["status"].get("containerStatuses", [])
    return found["metadata"]["uid"], sum(each["restartCount"] for each in statuses)


@pytest.mark.parametrize("role", ["leader", "follower"])
@pytest.mark.timeout(400, func_only=True)
def test_without_a_quorum_no_node_is_ready(
    kafka: KafkaRelease, role: str, figure: Callable[[str], None]
) -> None:
    """Whatever the last node was before: a follower goes on calling itself one."""
    cluster = kafka.cluster
    cluster.until(lambda: kafka.ready_nodes() == NODES, "all are ready", timeout_s=120)
    stays = node_in_state(kafka, role)
    before = restarts_of(kafka, stays)
    # Killed, not ended: a leader that ends in good order tells its followers.
    for pod in NODES - {stays}:
        kafka.release.crash(pod)
    keep_only(kafka, stays)
    for pod in NODES - {stays}:
        kafka.release.delete(pod)
    began_s = time.monotonic()
    cluster.until(lambda: not kafka.ready_nodes(), "the last node is not ready", timeout_s=60)
    figure(f"only a {role} of three nodes left: unready after {time.monotonic() - began_s:.1f} s")
    assert 'kafka_server_raft_metrics_current_state{state="leader"}' not in kafka.metrics(stays)
    keep_only(kafka, *NODES)
    cluster.until(lambda: kafka.ready_nodes() == NODES, "all are ready again", timeout_s=180)
    assert restarts_of(kafka, stays) == before, "no probe ended a node that was only alone"


def node_in_state(kafka: KafkaRelease, state: str) -> str:
    """A node that says that it is that in the quorum."""
    line = f'kafka_server_raft_metrics_current_state{{state="{state}"}} 1'
    found: list[str] = []

    def has_come() -> bool:
        found.extend(pod for pod in sorted(NODES) if line in kafka.metrics(pod))
        return bool(found)

    kafka.cluster.until(has_come, f"a node is the quorum's {state}")
    return found[0]


def keep_only(kafka: KafkaRelease, *pods: str) -> None:
    """Let the StatefulSet have these nodes, whose numbers follow each other, and no others."""
    first = min(int(pod.removeprefix("kafka-")) for pod in pods)
    spec = {"replicas": len(pods), "ordinals": {"start": first}}
    kafka.cluster.kubectl(
        *("patch", "statefulset/kafka", "--namespace", kafka.namespace),
        *("--type=merge", f"--patch={json.dumps({'spec': spec})}"),
    )
