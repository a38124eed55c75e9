"""Fetching the broker's jars when the network is away."""

import hashlib
from pathlib import Path

import pytest

from mailtopic_cli.kafka_distribution import (
    Distribution,
    DistributionError,
    LockedJar,
    ensure_distribution,
)

pytestmark = pytest.mark.integration

CONTENT = b"the bytes of a jar"
JAR = LockedJar("org.example", "thing", "1.0", hashlib.sha256(CONTENT).hexdigest())
ONE_JAR = Distribution("4.3.1", (JAR,))


def put(repository: Path, content: bytes) -> None:
    path = JAR.path(repository)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@pytest.fixture
def no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """jgo asks a port on which nobody can listen."""
    config = tmp_path / "jgo.conf"
    config.write_text("[repositories]\ncentral = http://127.0.0.1:1/maven\n")
    monkeypatch.setenv("JGO_CONFIG_FILE", str(config))
    monkeypatch.setattr("mailtopic_cli.kafka_distribution._RETRY_PAUSE_S", 0)


@pytest.mark.usefixtures("no_network")
def test_without_a_network_one_line_names_the_jar_and_a_broken_one_is_removed(
    tmp_path: Path,
) -> None:
    put(tmp_path, CONTENT[:-1])
    with pytest.raises(DistributionError) as failed:
        ensure_distribution(ONE_JAR, tmp_path)
    assert "cannot download thing 1.0" in str(failed.value)
    assert "network" in str(failed.value)
    assert "\n" not in str(failed.value)
    assert not JAR.path(tmp_path).exists()
