"""Which cluster the commands work on."""

from collections.abc import Callable
from pathlib import Path

import pytest

from localcluster.choice import choose, given_kubeconfig
from localcluster.errors import ClusterError, PrerequisiteError
from localcluster.settings import Settings
from localcluster.toolchain import Toolchain

Program = Callable[[str, str], Path]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    state = tmp_path / "state"
    state.mkdir()
    return Settings(state)


@pytest.fixture
def toolchain(tmp_path: Path) -> Toolchain:
    return Toolchain(tmp_path / "cache", str)


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
    for variable in ("KUBECONFIG", "MAILTOPIC_TEST_KUBECONFIG"):
        monkeypatch.delenv(variable, raising=False)


def test_a_given_cluster_comes_first(
    settings: Settings,
    toolchain: Toolchain,
    program: Program,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program("docker", "exit 0")
    given = tmp_path / "given"
    given.touch()
    monkeypatch.setenv("KUBECONFIG", str(given))
    assert choose(settings, toolchain, str).mode == "given"


def test_our_own_kubeconfig_is_no_given_cluster(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.kubeconfig.touch()
    monkeypatch.setenv("KUBECONFIG", str(settings.kubeconfig))
    assert given_kubeconfig(settings) is None


def test_the_tests_own_variable_wins(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("mine", "tests"):
        (tmp_path / name).touch()
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "mine"))
    monkeypatch.setenv("MAILTOPIC_TEST_KUBECONFIG", str(tmp_path / "tests"))
    assert given_kubeconfig(settings) == tmp_path / "tests"


def test_a_kubeconfig_that_is_not_there_is_an_error(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nowhere")
    with pytest.raises(ClusterError, match="KUBECONFIG names /nowhere"):
        given_kubeconfig(settings)


@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_kind_is_used_where_an_engine_runs(
    settings: Settings, toolchain: Toolchain, program: Program, engine: str
) -> None:
    program(engine, "exit 0")
    assert choose(settings, toolchain, str).mode == "kind"


def test_an_engine_that_is_installed_but_does_not_run_is_not_used(
    settings: Settings, toolchain: Toolchain, program: Program
) -> None:
    program("docker", "exit 1")
    assert choose(settings, toolchain, str).mode == "node"


def test_without_kind_the_error_says_how_to_get_it(
    settings: Settings, toolchain: Toolchain, program: Program
) -> None:
    program("docker", "exit 0")
    with pytest.raises(
        PrerequisiteError, match=r"docker runs here, but kind is missing: .*go inst"
    ):
        choose(settings, toolchain, str).up()


def test_a_mode_can_be_chosen_where_an_engine_runs(
    settings: Settings, toolchain: Toolchain, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    program("docker", "exit 0")
    monkeypatch.setenv("MAILTOPIC_CLUSTER_MODE", "node")
    assert choose(settings, toolchain, str).mode == "node"
    monkeypatch.setenv("MAILTOPIC_CLUSTER_MODE", "k3s")
    with pytest.raises(ClusterError, match="MAILTOPIC_CLUSTER_MODE must be kind or node"):
        choose(settings, toolchain, str)


def test_two_folders_are_two_clusters(tmp_path: Path) -> None:
    assert Settings(tmp_path / "a").name != Settings(tmp_path / "b").name


@pytest.mark.parametrize(
    "folder", ["/run/cluster", "/var/log/x", "/srv/a,b", "/srv/a:b", "/srv/a b"]
)
def test_a_folder_that_can_hold_no_cluster_is_refused(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAILTOPIC_CLUSTER_DIR", folder)
    with pytest.raises(ClusterError, match="can't hold a cluster"):
        Settings.from_environment()
