"""Real kind on a real engine: a cluster's beginning and end, whatever stops meanwhile.

`make test-kind` runs these. KIND_IMAGE names a node image where no registry has kind's own.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from localcluster.client import ClusterClient
from localcluster.fixtures import environment_for, localcluster
from mailtopic_cli.cluster.programs import run
from mailtopic_cli.cluster.settings import Settings
from support.kind_clusters import containers, kind_settings

_CONTROL_PLANE = "node-role.kubernetes.io/control-plane"

pytestmark = [pytest.mark.kind, pytest.mark.timeout(600)]


@pytest.fixture
def settings(engine: str, tmp_path: Path) -> Iterator[Settings]:
    """A folder for one cluster."""
    assert engine
    with kind_settings(tmp_path / "cluster") as settings:
        yield settings


def ready_zones(settings: Settings) -> set[str]:
    """The zones with a node that is ready and no control plane's alone."""
    nodes = ClusterClient(settings).get("nodes")["items"]
    return {
        node["metadata"]["labels"]["topology.kubernetes.io/zone"]
        for node in nodes
        for condition in node["status"]["conditions"]
        if condition["type"] == "Ready" and condition["status"] == "True"
        if not any(taint["key"] == _CONTROL_PLANE for taint in node["spec"].get("taints", []))
    }


def test_three_zones_come_up_once_survive_a_stop_and_leave_nothing(
    engine: str, settings: Settings, figure: Callable[[str], None]
) -> None:
    began_s = time.monotonic()
    up = localcluster("up", settings=settings)
    assert up.returncode == 0, up.stderr
    figure(f"three nodes up after {time.monotonic() - began_s:.0f} s")
    assert ready_zones(settings) == {"local-a", "local-b", "local-c"}

    began_s = time.monotonic()
    assert "up already" in localcluster("up", settings=settings).stdout
    figure(f"found up within {time.monotonic() - began_s:.1f} s")

    run(engine, "stop", f"{settings.name}-worker", f"{settings.name}-control-plane")
    stopped = localcluster("status", settings=settings)
    assert stopped.returncode == 1
    assert f"node {settings.name}-worker is stopped" in stopped.stdout
    assert localcluster("up", settings=settings).returncode == 0
    client = ClusterClient(settings)
    client.until(lambda: len(ready_zones(settings)) == 3, "all nodes are ready", timeout_s=120)

    assert localcluster("down", settings=settings).returncode == 0
    assert containers(engine, settings) == []
    assert not settings.kubeconfig.exists()
    assert not settings.bin.exists()


@contextmanager
def starting(settings: Settings) -> Iterator["subprocess.Popen[bytes]"]:
    """Start a cluster of one node, as from a terminal: in a process group that heeds Ctrl-C."""
    environment = {**environment_for(settings), "KIND_NODES": "1"}
    command = ["env", "--default-signal=INT", sys.executable, "-m", "localcluster", "up"]
    with subprocess.Popen(command, env=environment, start_new_session=True) as process:  # noqa: S603 - our own program
        yield process


@pytest.mark.parametrize("after_s", [0.5, 2, 5, 10, 15])
def test_ctrl_c_during_a_start_leaves_nothing_behind(
    after_s: float, engine: str, settings: Settings
) -> None:
    with starting(settings) as process:
        time.sleep(after_s)  # the moment is what is tried
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(120) != 0
    assert containers(engine, settings) == []
    assert localcluster("status", settings=settings).returncode == 1


def test_a_killed_start_is_replaced_by_the_next_one(
    engine: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIND_NODES", "1")
    with starting(settings) as process:
        while not containers(engine, settings):
            assert process.poll() is None
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGKILL)
    up = localcluster("up", settings=settings)
    assert up.returncode == 0, up.stderr
    assert "interrupted start" in up.stdout
    assert ready_zones(settings) == {"local-a"}
