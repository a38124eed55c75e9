"""How kind is called, with programs that stand for Docker and kind; real ones: `make test-kind`."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from mailtopic_cli.cluster.choice import CLUSTERS, choose, current
from mailtopic_cli.cluster.errors import ClusterError, PrerequisiteError
from mailtopic_cli.cluster.kind import KindCluster
from mailtopic_cli.cluster.kind_config import kind_config
from mailtopic_cli.cluster.settings import KIND_CONFIG, Settings

# Keeps its clusters in a file; a node runs unless its name is in the file `stopped`.
KIND = """
echo "kind $*" >>"$STATE/calls"
case "$1 $2" in
  "get clusters") cat "$STATE/clusters" 2>/dev/null; exit 0 ;;
  "get nodes") if [ -e "$STATE/late-node" ]; then rm "$STATE/late-node"; touch "$STATE/clusters"; fi
    if [ -e "$STATE/clusters" ]; then echo "$4-control-plane"; echo "$4-worker"; fi ;;
  "create cluster")
    [ ! -e "$STATE/engine-stops" ] || { touch "$STATE/no-engine"; echo EOF >&2; exit 1; }
    [ ! -e "$STATE/no-room" ] || { echo "no room" >&2; exit 1; }
    while [ "$1" != --name ]; do shift; done; echo "$2" >"$STATE/clusters" ;;
  "delete cluster") [ ! -e "$STATE/no-engine" ] || { echo "Cannot connect" >&2; exit 1; }
    rm -f "$STATE/clusters" ;;
esac
"""
DOCKER = """
echo "docker $*" >>"$STATE/calls"
[ ! -e "$STATE/no-engine" ] || exit 1
case "$1" in
  info) cat "$STATE/info" ;;
  inspect) shift 3
    for node; do grep -qx "$node" "$STATE/stopped" && echo false || echo true; done ;;
  start) : >"$STATE/stopped" ;;
  exec) case "$*" in *version*) echo v1.34.4 ;; esac; ! grep -q . "$STATE/stopped" ;;
  cp) echo kubectl >"$4" ;;
esac
"""


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the two programs keep what they did."""
    state = tmp_path / "world"
    programs = tmp_path / "programs"
    for folder in (state, programs):
        folder.mkdir()
    (state / "stopped").touch()
    (state / "info").write_text("{}")
    for name, script in (("kind", KIND), ("docker", DOCKER), ("helm", "echo v4.0.0")):
        program = programs / name
        program.write_text(f"#!/bin/sh\nSTATE={state}\n{script}")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    for variable in ("KIND_NODES", "KIND_IMAGE", "KUBECONFIG", "MAILTOPIC_CLUSTER_MODE"):
        monkeypatch.delenv(variable, raising=False)
    return state


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    state = tmp_path / "state"
    state.mkdir()
    return Settings(state)


@pytest.fixture
def kind(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> KindCluster:
    monkeypatch.setattr("mailtopic_cli.cluster.kind._LATE_S", 0.5)
    monkeypatch.setattr("mailtopic_cli.cluster.kind._POLL_S", 0.05)
    return KindCluster(settings, str, "docker")


def calls(world: Path, program: str) -> list[str]:
    lines = (world / "calls").read_text().splitlines()
    return [line for line in lines if line.startswith(f"{program} ")]


def test_a_cluster_is_made_of_our_nodes_under_a_name_of_its_folder(
    world: Path, settings: Settings, kind: KindCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIND_IMAGE", "kindest/node:v1.34.4")
    kind.up()
    config = settings.state / "kind-config.yaml"
    (created,) = [line for line in calls(world, "kind") if "create cluster" in line]
    assert created == (
        f"kind create cluster --config {config} --image kindest/node:v1.34.4"
        f" --kubeconfig {settings.kubeconfig} --wait 180s --name {settings.name}"
    )
    zones = {
        node["labels"]["topology.kubernetes.io/zone"]
        for node in yaml.safe_load(config.read_text())["nodes"]
    }
    assert len(zones) == 3
    assert kind.is_up()
    assert (settings.bin / "kubectl").is_file(), "the node's own, for want of one on the machine"


@pytest.mark.parametrize(("nodes", "times"), [("1", 0), ("3", 1)])
def test_of_several_nodes_the_control_plane_takes_pods_too(
    nodes: str, times: int, world: Path, kind: KindCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIND_NODES", nodes)
    kind.up()
    assert sum("kubectl" in line and " taint " in line for line in calls(world, "docker")) == times


def test_up_again_finds_it_up_and_down_leaves_nothing(
    world: Path, settings: Settings, kind: KindCluster
) -> None:
    kind.up()
    kind.up()
    assert sum("create cluster" in line for line in calls(world, "kind")) == 1
    kind.down()
    assert not kind.is_up()
    assert not (world / "clusters").exists()
    assert [path.name for path in settings.state.iterdir()] == ["kind-config.yaml"]


@pytest.mark.parametrize("progress", ["begun", None])
def test_what_an_interrupted_start_left_is_replaced(
    progress: str | None, world: Path, settings: Settings, kind: KindCluster
) -> None:
    (world / "clusters").write_text(settings.name)
    if progress is not None:
        settings.kind_progress.write_text(progress)
    assert not kind.is_up()
    kind.up()
    done = [line.split()[1] for line in calls(world, "kind") if "cluster --" in line]
    assert done == ["delete", "create"]


def test_a_start_that_fails_leaves_nothing(world: Path, kind: KindCluster) -> None:
    (world / "no-room").touch()
    with pytest.raises(ClusterError, match="kind create cluster failed: no room"):
        kind.up()
    assert any("delete cluster" in line for line in calls(world, "kind"))
    assert not (world / "clusters").exists()
    assert not kind.is_up()


def test_a_node_that_the_engine_finishes_after_an_interruption_is_deleted_as_well(
    world: Path, kind: KindCluster
) -> None:
    (world / "no-room").touch()
    (world / "late-node").touch()
    with pytest.raises(ClusterError, match="no room"):
        kind.up()
    deletions = [line for line in calls(world, "kind") if "delete cluster" in line]
    assert len(deletions) == 2


def test_stopped_nodes_are_started_again(
    world: Path, settings: Settings, kind: KindCluster
) -> None:
    kind.up()
    node = f"{settings.name}-worker"
    (world / "stopped").write_text(f"{node}\n")
    assert not kind.is_up()
    assert f"node {node} is stopped" in kind.describe()
    kind.up()
    assert f"docker start {node}" in calls(world, "docker")
    assert kind.is_up()


def test_an_engine_that_stopped_is_named(
    world: Path, settings: Settings, kind: KindCluster
) -> None:
    kind.up()
    settings.mode_file.write_text("kind\n")
    (world / "no-engine").touch()
    assert choose(settings, CLUSTERS, str).mode == "kind", "no second cluster beside it"
    noted = current(settings, CLUSTERS, str)
    assert noted is not None
    assert not noted.is_up()
    with pytest.raises(ClusterError, match="docker does not answer: start it"):
        choose(settings, CLUSTERS, str).up()


@pytest.mark.parametrize(("client", "taken"), [("v1.33.1", "machine"), ("v1.32.9", "node")])
def test_a_kubectl_of_the_machine_is_taken_if_its_version_goes_with_the_nodes(
    client: str, taken: str, world: Path, settings: Settings, kind: KindCluster
) -> None:
    program = world.parent / "programs" / "kubectl"
    program.write_text(
        f"""#!/bin/sh
echo '{{"clientVersion": {{"gitVersion": "{client}"}}}}'
"""
    )
    program.chmod(0o755)
    kind.up()
    assert (settings.bin / "kubectl").is_symlink() == (taken == "machine")


@pytest.mark.parametrize("nodes", ["0", "4", "two", "-1", "1.5"])
def test_a_number_of_nodes_that_there_is_not_is_refused(nodes: str) -> None:
    with pytest.raises(ClusterError, match="KIND_NODES must be a number from 1 to 3"):
        kind_config({"KIND_NODES": nodes})


@pytest.mark.parametrize(("environment", "count"), [({}, 3), ({"KIND_NODES": "1"}, 1)])
def test_a_small_machine_can_have_one_node(environment: Mapping[str, str], count: int) -> None:
    assert len(yaml.safe_load(kind_config(environment)[0])["nodes"]) == count


def test_a_cut_configuration_is_the_whole_one_but_for_its_nodes() -> None:
    whole = yaml.safe_load(KIND_CONFIG.read_text())
    text, count = kind_config({"KIND_NODES": "2"})
    assert (yaml.safe_load(text), count) == ({**whole, "nodes": whole["nodes"][:2]}, 2)


@pytest.mark.parametrize(
    ("info", "advice"),
    [
        (
            '{"MemTotal": 2147483648}',
            r"docker has 2.0 GiB of memory .* 3.5 .*KIND_NODES=1",
        ),
        ('{"host": {"memTotal": 1073741824}}', "1.0 GiB of memory"),
        ('{"DockerRootDir": "/proc"}', r"docker has 0.0 GiB of disk to give, and 9.0 GiB"),
        ('{"store": {"graphRoot": "/proc"}}', "0.0 GiB of disk"),
    ],
)
def test_too_little_memory_or_disk_is_said_before_anything_is_made(
    info: str, advice: str, world: Path, settings: Settings, kind: KindCluster
) -> None:
    (world / "info").write_text(info)
    with pytest.raises(PrerequisiteError, match=advice) as raised:
        kind.up()
    assert "\n" not in str(raised.value)
    assert not any("create cluster" in line for line in calls(world, "kind"))
    assert not kind.is_noted
    assert list(settings.state.iterdir()) == []


def test_one_node_needs_less(
    world: Path, kind: KindCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    (world / "info").write_text('{"MemTotal": 3221225472}')
    with pytest.raises(PrerequisiteError):
        kind.up()
    monkeypatch.setenv("KIND_NODES", "1")
    kind.up()
    assert kind.is_up()


def test_an_engine_that_stops_meanwhile_is_named_and_what_it_left_is_removed_later(
    world: Path, settings: Settings, kind: KindCluster
) -> None:
    (world / "engine-stops").touch()
    with pytest.raises(ClusterError, match="docker does not answer: start it") as raised:
        kind.up()
    assert "\n" not in str(raised.value)
    assert settings.kind_progress.exists(), "the next command knows of what may be there"
    for name in ("engine-stops", "no-engine"):
        (world / name).unlink()
    kind.down()
    assert not settings.kind_progress.exists()
    assert not (world / "clusters").exists()
