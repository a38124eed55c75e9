"""A cluster's beginning and end: whatever is killed, nothing stays on the machine."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from localcluster import processes
from localcluster.client import ClusterClient
from localcluster.fixtures import bring_up, environment_for, localcluster
from localcluster.node_settings import NodeSettings
from mailtopic_cli.cluster.programs import run
from support.conditions import until

_CGROUPS = Path("/sys/fs/cgroup")

pytestmark = pytest.mark.usefixtures("one_node")


@pytest.fixture
def second(cluster: ClusterClient, tmp_path: Path) -> Iterator[NodeSettings]:
    """A cluster's folder beside the one in use; what a failed test leaves there is taken down.

    It hangs on the first cluster, so that a machine that can't run any skips these as well.
    """
    assert cluster.kubeconfig.exists()
    settings = NodeSettings(tmp_path / "cluster")
    yield settings
    assert localcluster("down", settings=settings).returncode == 0


def traces(settings: NodeSettings) -> list[str]:
    """Everything of this machine that a node could have left something in."""
    ours = [str(path) for path in _CGROUPS.rglob(settings.name)]
    of_node = [f"process {pid}" for pid in processes.node_pids(settings.state)]
    folders = [Path("/var/lib/kubelet"), Path("/var/lib/cni"), Path("/opt/containerd")]
    return [
        *ours,
        *of_node,
        *(str(folder) for folder in folders if folder.exists()),
        *Path("/proc/self/mountinfo").read_text().splitlines(),
        *run("ip", "-oneline", "link").stdout.splitlines(),
        *run("nft", "list", "ruleset").stdout.splitlines(),
        *run("iptables-save").stdout.splitlines(),
        *commands_about(settings),
    ]


def commands_about(settings: NodeSettings) -> list[str]:
    """The command lines that name the cluster's folder, this test's own aside."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it ended meanwhile
            continue
        if str(settings.state) in line:
            found.append(line)
    return found


def started_up(settings: NodeSettings) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "localcluster", "up"],
        env=environment_for(settings),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def forwarders(settings: NodeSettings) -> list[int]:
    """The pids, as seen from outside, of the node's way in."""
    first = processes.first_pid(settings.state)
    if first is None:
        return []
    namespace = Path(f"/proc/{first}/ns/pid").readlink()
    candidates = run("pgrep", "--full", "localcluster.forwarder").stdout.split()
    return [pid for pid in map(int, candidates) if namespace_of(pid) == namespace]


def namespace_of(pid: int) -> Path | None:
    try:
        return Path(f"/proc/{pid}/ns/pid").readlink()
    except OSError:  # it ended meanwhile
        return None


async def until_nothing_is_left(settings: NodeSettings, before: list[str]) -> None:
    """Anything left stays for ever; what other programs do meanwhile comes and goes."""

    def left() -> list[str]:
        return [trace for trace in traces(settings) if trace not in before]

    await until(lambda: not left(), f"nothing new is on the machine: {left()}")
    assert not settings.node.exists()
    assert not settings.kubeconfig.exists()


async def test_a_killed_node_leaves_nothing(second: NodeSettings) -> None:
    before = traces(second)
    # bring_up reads the command's output to its end: the node doesn't hold it open.
    bring_up(second)
    client = ClusterClient(second)
    assert "Ready" in client.kubectl("get", "nodes")
    assert "up already" in bring_up(second).stdout
    assert localcluster("status", settings=second).returncode == 0
    first = processes.first_pid(second.state)
    assert first is not None

    os.kill(first, signal.SIGKILL)

    await until(lambda: not processes.node_pids(second.state), "the node ends whole")
    status = localcluster("status", settings=second)
    assert status.returncode == 1
    assert "the node ended" in status.stdout
    assert localcluster("down", settings=second).returncode == 0
    await until_nothing_is_left(second, before)
    assert "there is no cluster" in localcluster("down", settings=second).stdout


async def test_a_killed_forwarder_ends_the_node_and_up_says_so(second: NodeSettings) -> None:
    before = traces(second)
    with started_up(second) as up:
        await until(lambda: forwarders(second), "the node has its forwarder")
        (forwarder,) = forwarders(second)
        os.kill(forwarder, signal.SIGKILL)
        await until(lambda: up.poll() is not None, "the command ends by itself")
        assert up.stderr is not None
        assert "forwarder ended with -9" in up.stderr.read().decode()
    assert up.returncode == 2
    await until_nothing_is_left(second, before)


async def test_a_killed_up_leaves_what_the_next_command_cleans(second: NodeSettings) -> None:
    before = traces(second)
    for _ in range(2):  # the second one begins with what the first one left
        with started_up(second) as up:
            await until(lambda: forwarders(second), "the node starts its parts")
            up.kill()
        assert processes.first_pid(second.state) is not None
    assert localcluster("status", settings=second).returncode == 1
    # The process outside that waits for the node takes it along.
    (outer,) = set(processes.node_pids(second.state)) - {processes.first_pid(second.state)}
    os.kill(outer, signal.SIGKILL)
    await until(lambda: not processes.node_pids(second.state), "the node ends whole")
    assert localcluster("down", settings=second).returncode == 0
    await until_nothing_is_left(second, before)


async def test_a_part_that_fails_ends_up_with_its_log_and_leaves_nothing(
    second: NodeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = traces(second)
    programs = tmp_path / "programs"
    programs.mkdir()
    broken = programs / "etcd"
    broken.write_text("#!/bin/sh\necho the disk is full\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")

    up = localcluster("up", settings=second)

    assert up.returncode == 2
    assert "etcd ended with 3" in up.stderr
    assert "etcd | the disk is full" in up.stderr
    await until_nothing_is_left(second, before)


def test_a_given_cluster_is_used_and_never_taken_down(
    cluster: ClusterClient, second: NodeSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MAILTOPIC_TEST_KUBECONFIG", str(cluster.kubeconfig))
    monkeypatch.setenv("PATH", cluster.environment["PATH"])
    monkeypatch.delenv("MAILTOPIC_CLUSTER_MODE", raising=False)
    assert "mode: given" in bring_up(second).stdout
    assert "Ready" in ClusterClient(second).kubectl("get", "nodes")
    archive = tmp_path / "image.tar"
    archive.touch()
    load = localcluster("load", str(archive), settings=second)
    assert (load.returncode, "push the images" in load.stderr) == (2, True)

    assert localcluster("down", settings=second).returncode == 0

    assert not second.kubeconfig.exists()
    assert "Ready" in cluster.kubectl("get", "nodes")


def test_a_process_that_only_looks_like_the_node_is_spared(second: NodeSettings) -> None:
    name = "localcluster.node"
    with subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", "input()", name, f"{second.state}-of-another"],
        stdin=subprocess.PIPE,
    ) as bystander:
        assert not processes.end_node(second.state)
        assert bystander.poll() is None
        bystander.communicate(b"\n")
    assert bystander.returncode == 0
