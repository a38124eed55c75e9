"""Which engine builds, and what is said when none can."""

from pathlib import Path

import pytest

from localcluster.buildah import BUILDAH
from mailtopic_cli.cluster.errors import ClusterError
from mailtopic_cli.cluster.images.engines import ENGINES, choose_engine
from mailtopic_cli.cluster.programs import output_of, run_logged, succeeds

_ALL = {**ENGINES, "buildah": BUILDAH}


def program(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    return tmp_path


def test_docker_comes_first_if_its_daemon_answers(programs: Path) -> None:
    program(programs, "podman", "exit 0")
    program(programs, "docker", "exit 0")
    assert choose_engine(_ALL) == "docker"
    program(programs, "docker", "exit 1")
    assert choose_engine(_ALL) == "podman"


def test_buildah_is_for_machines_with_neither(programs: Path) -> None:
    for name in ("buildah", "dpkg-deb", "apt-get", "tar"):
        program(programs, name, "exit 0")
    assert choose_engine(_ALL) == "buildah"


def test_without_any_engine_the_error_names_the_package_to_install(programs: Path) -> None:
    program(programs, "docker", "exit 1")
    for name in ("dpkg-deb", "apt-get", "tar"):
        program(programs, name, "exit 0")
    with pytest.raises(ClusterError) as raised:
        choose_engine(_ALL)
    assert "docker is installed, but its daemon doesn't answer: start it" in str(raised.value)
    assert "podman isn't installed" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert "apt-get install -y --no-install-recommends buildah" in str(raised.value)


def test_without_root_buildah_is_no_choice(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(programs, "buildah", "exit 0")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(ClusterError, match="sudo make images"):
        choose_engine(_ALL, "buildah")


def test_an_engine_that_was_asked_for_is_not_replaced(programs: Path) -> None:
    program(programs, "docker", "exit 0")
    with pytest.raises(ClusterError, match="podman isn't installed"):
        choose_engine(_ALL, "podman")


def test_a_failed_command_shows_the_end_of_what_it_wrote(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(ClusterError) as raised:
        run_logged("sh", "-c", "seq 100; echo the reason >&2; exit 3", log=log)
    assert "ended with 3" in str(raised.value)
    assert "the reason" in str(raised.value)
    assert "\n50\n" not in str(raised.value)
    assert str(log) in str(raised.value)
    assert "\n50\n" in log.read_text()


def test_a_program_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="no-such-program isn't installed"):
        output_of("no-such-program")
    assert not succeeds(tmp_path / "neither")


def test_an_engine_that_there_is_not_is_refused(programs: Path) -> None:
    program(programs, "docker", "exit 0")
    with pytest.raises(ClusterError, match="--engine must be one of docker, podman, buildah"):
        choose_engine(_ALL, "kaniko")
