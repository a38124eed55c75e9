"""Nodes that go under load: one is drained, one is stopped. `make test-kind` runs these.

Signup and the inbox stay on the control plane: SQLite and a relay's mails are on that node's disk.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from localcluster.client import ClusterClient
from localcluster.fixtures import localcluster
from mailtopic_cli.cluster.programs import run
from mailtopic_cli.cluster.settings import Settings
from support.kind_clusters import kind_settings
from support.kube_release import RESTRICTED, Release

pytestmark = [pytest.mark.kind, pytest.mark.timeout(900)]

_RATE_PER_S = 20
_CLIENTS = 64
_IMAGES = ("kafka", "inbox", "signup", "sender", "operator")
_PINNED = ("signup", "inbox")
_AWAY_S = 30
"""From when the controller calls the silent node NotReady."""


@pytest.fixture(scope="module")
def settings(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A cluster of three nodes with the images of the charts."""
    assert engine
    with kind_settings(tmp_path_factory.mktemp("nodes") / "cluster") as settings:
        for command in (["up"], ["images", *_IMAGES]):
            done = localcluster(*command, settings=settings)
            assert done.returncode == 0, done.stderr
        yield settings


@pytest.fixture(scope="module")
def kept(settings: Settings) -> dict[str, str]:
    """What selects the node that stays."""
    return {"kubernetes.io/hostname": f"{settings.name}-control-plane"}


@pytest.fixture(scope="module")
def release(settings: Settings, kept: dict[str, str]) -> Iterator[Release]:
    """Three Kafka nodes and three senders."""
    cluster = ClusterClient(settings)
    with cluster.namespace("nodes", **RESTRICTED) as namespace:
        release = Release(cluster, namespace)
        pinned = [f"--set-json={name}.nodeSelector={json.dumps(kept)}" for name in _PINNED]
        release.put("install", *pinned, files=("local", "three-nodes"))
        yield release


def zones(release: Release, chart: str) -> Counter[str]:
    """How many running pods of a component each zone has."""
    nodes = {
        node["metadata"]["name"]: node["metadata"]["labels"]["topology.kubernetes.io/zone"]
        for node in release.cluster.get("nodes")["items"]
    }
    names = release.pod_names(chart)
    pods = [pod for pod in release.pods() if pod["metadata"]["name"] in names]
    return Counter(nodes[pod["spec"]["nodeName"]] for pod in pods)


@pytest.mark.parametrize("chart", ["kafka", "sender"])
def test_pods_are_spread_over_the_zones(release: Release, chart: str) -> None:
    assert zones(release, chart) == {"local-a": 1, "local-b": 1, "local-c": 1}


def test_a_node_is_drained_under_load(
    release: Release, kept: dict[str, str], figure: Callable[[str], None]
) -> None:
    node = f"{release.cluster.settings.name}-worker"
    load = release.load("drain", rate_per_s=_RATE_PER_S, clients=_CLIENTS, node_selector=kept)
    load.wait_until_started()
    began_s = time.monotonic()
    release.cluster.kubectl(
        *("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=180s"),
        timeout_s=240,
    )
    figure(f"drained within {time.monotonic() - began_s:.0f} s")
    assert zones(release, "kafka") == {"local-a": 1, "local-c": 1}
    assert "local-b" not in zones(release, "sender")
    release.cluster.kubectl("uncordon", node)
    release.wait_until_ready()
    result = load.end()
    figure(f"a node drained: {result}")
    assert result["accepted"] == result["asked"]
    assert result["lost"] == 0


def test_a_node_stops_under_load(
    release: Release, engine: str, kept: dict[str, str], figure: Callable[[str], None]
) -> None:
    node = f"{release.cluster.settings.name}-worker2"
    load = release.load("stop", rate_per_s=_RATE_PER_S, clients=_CLIENTS, node_selector=kept)
    load.wait_until_started()
    run(engine, "stop", node)
    release.cluster.wait(f"node/{node}", "condition=Ready=Unknown", timeout_s=120)
    time.sleep(_AWAY_S)  # how long the node is away is what is tried
    assert run(engine, "start", node).returncode == 0
    release.cluster.wait(f"node/{node}", "condition=Ready", timeout_s=120)
    release.wait_until_ready()
    result = load.end()
    figure(f"a node stopped: {result}")
    assert result["accepted"] == result["asked"]
    assert result["lost"] == 0
