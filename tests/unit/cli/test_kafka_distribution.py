"""The lock and the check of the broker's jars."""

import hashlib
from pathlib import Path

import pytest

from mailtopic_cli.kafka_distribution import (
    Distribution,
    DistributionError,
    LockedJar,
    cache_dir,
    ensure_distribution,
    load_distribution,
)

CONTENT = b"the bytes of a jar"
JAR = LockedJar("org.example", "thing", "1.0", hashlib.sha256(CONTENT).hexdigest())
ONE_JAR = Distribution("4.3.1", (JAR,))


def put(repository: Path, content: bytes) -> None:
    path = JAR.path(repository)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_the_shipped_lock_pins_every_jar_of_one_kafka_by_sha256() -> None:
    distribution = load_distribution()
    assert distribution.version.startswith("4.3.")
    assert all(len(bytes.fromhex(jar.sha256)) == 32 for jar in distribution.jars)
    kafka = {jar.version for jar in distribution.jars if jar.group == "org.apache.kafka"}
    assert kafka == {distribution.version}
    # Without the bridge the broker would log nothing at all.
    assert "log4j-slf4j-impl" in {jar.artifact for jar in distribution.jars}


def test_the_class_path_names_each_jar_in_mavens_layout(tmp_path: Path) -> None:
    expected = f"{tmp_path}/org/example/thing/1.0/thing-1.0.jar"
    assert ONE_JAR.class_path(tmp_path) == expected


def test_intact_jars_need_no_network(tmp_path: Path) -> None:
    put(tmp_path, CONTENT)
    reports: list[str] = []
    ensure_distribution(ONE_JAR, tmp_path, reports.append)
    assert reports == []


@pytest.mark.parametrize("content", [b"", CONTENT[:-1], b"other bytes, same place"])
def test_a_cut_off_or_foreign_jar_counts_as_missing(tmp_path: Path, content: bytes) -> None:
    put(tmp_path, content)
    assert ONE_JAR.missing(tmp_path) == [JAR]


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    with pytest.raises(DistributionError, match="set XDG_CACHE_HOME"):
        ensure_distribution(ONE_JAR, blocked / "maven")


def test_the_cache_follows_the_xdg_convention(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "mailtopic"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir() == tmp_path / ".cache" / "mailtopic"
