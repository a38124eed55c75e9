"""Which cluster the commands work on."""

from collections.abc import Callable
from pathlib import Path

import pytest

from localcluster.node_settings import NodeSettings
from localcluster.parts import PARTS
from mailtopic_cli.cluster.choice import CLUSTERS, choose, current
from mailtopic_cli.cluster.errors import ClusterError, PrerequisiteError
from mailtopic_cli.cluster.given import given_kubeconfig
from mailtopic_cli.cluster.settings import Settings

Program = Callable[[str, str], Path]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    state = tmp_path / "state"
    state.mkdir()
    return Settings(state)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Makes programs; no others are on PATH."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def make(name: str, script: str) -> Path:
        path = folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    return make


@pytest.fixture(autouse=True)
def _no_kubeconfig(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("KUBECONFIG", "MAILTOPIC_CLUSTER_MODE"):
        monkeypatch.delenv(variable, raising=False)


def test_a_given_cluster_comes_first(
    settings: Settings,
    program: Program,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program("docker", "exit 0")
    given = tmp_path / "given"
    given.touch()
    monkeypatch.setenv("KUBECONFIG", str(given))
    assert choose(settings, PARTS.clusters, str).mode == "given"


def test_our_own_kubeconfig_is_no_given_cluster(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.kubeconfig.touch()
    monkeypatch.setenv("KUBECONFIG", str(settings.kubeconfig))
    assert given_kubeconfig(settings) is None


def test_a_kubeconfig_that_is_not_there_is_an_error(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nowhere")
    with pytest.raises(ClusterError, match="KUBECONFIG names /nowhere"):
        given_kubeconfig(settings)


@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_kind_is_used_where_an_engine_runs(
    settings: Settings, program: Program, engine: str
) -> None:
    program(engine, "exit 0")
    assert choose(settings, PARTS.clusters, str).mode == "kind"


def test_an_engine_that_is_installed_but_does_not_run_is_not_used(
    settings: Settings, program: Program
) -> None:
    program("docker", "exit 1")
    assert choose(settings, PARTS.clusters, str).mode == "node"


def test_without_kind_the_error_says_how_to_get_it(settings: Settings, program: Program) -> None:
    program("docker", "exit 0")
    program("helm", "echo v4.0.0")
    with pytest.raises(
        PrerequisiteError, match=r"docker runs here, but kind is missing: .*go inst"
    ):
        choose(settings, PARTS.clusters, str).up()


def test_a_mode_can_be_chosen_where_an_engine_runs(
    settings: Settings, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    program("docker", "exit 0")
    monkeypatch.setenv("MAILTOPIC_CLUSTER_MODE", "node")
    assert choose(settings, PARTS.clusters, str).mode == "node"
    monkeypatch.setenv("MAILTOPIC_CLUSTER_MODE", "k3s")
    with pytest.raises(ClusterError, match="MAILTOPIC_CLUSTER_MODE must be given or kind or node"):
        choose(settings, PARTS.clusters, str)


def test_two_folders_are_two_clusters(tmp_path: Path) -> None:
    assert Settings(tmp_path / "a").name != Settings(tmp_path / "b").name


@pytest.mark.parametrize(
    "folder", ["/run/cluster", "/var/log/x", "/srv/a,b", "/srv/a:b", "/srv/a b"]
)
def test_a_folder_that_can_hold_no_node_is_refused(folder: str) -> None:
    with pytest.raises(ClusterError, match="can't hold a cluster"):
        NodeSettings(Path(folder))


@pytest.mark.parametrize(
    ("engine", "advice"),
    [(None, "needs Docker or Podman, and kind: install them"), ("docker", "docker is installed")],
)
def test_without_an_engine_that_runs_the_error_says_what_to_do(
    engine: str | None, advice: str, settings: Settings, program: Program
) -> None:
    if engine:
        program(engine, "exit 1")
    with pytest.raises(PrerequisiteError, match=advice) as raised:
        choose(settings, CLUSTERS, str)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("script", [None, "echo v2.17.0"])
def test_without_a_helm_that_serves_nothing_is_begun(
    script: str | None, settings: Settings, program: Program
) -> None:
    program("docker", "exit 0")
    program("kind", "exit 0")
    if script:
        program("helm", script)
    with pytest.raises(PrerequisiteError, match="install Helm 3 or 4"):
        choose(settings, CLUSTERS, str).up()
    assert list(settings.state.iterdir()) == []


def test_the_node_of_the_tests_is_no_cluster_of_the_command(settings: Settings) -> None:
    assert current(settings, CLUSTERS, str) is None
    settings.mode_file.write_text("node\n")
    with pytest.raises(ClusterError, match="make takes it: MAILTOPIC_CLUSTER_MODE=node"):
        current(settings, CLUSTERS, str)
