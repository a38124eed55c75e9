"""The cluster that this tier's tests share; tests/cluster/conftest.py hands it to pytest."""

import os
import sys
from collections.abc import Iterator

import pytest

from support.requirements import require

from .client import ClusterClient
from .errors import EXIT_CODE_PREREQUISITES
from .programs import Finished, run
from .settings import PACKAGE_HOME, PROBE_IMAGE, Settings, cache_folder
from .toolchain import Toolchain

_TEST_TIMEOUT_S = 300


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Limit the tests and not the fixtures: the first one may have to build Kubernetes."""
    for item in items:
        if item.path.is_relative_to(PACKAGE_HOME) and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(_TEST_TIMEOUT_S, func_only=True))


def localcluster(*arguments: str, settings: Settings) -> Finished:
    """Run the cluster's command, as a developer would."""
    environment = {
        **os.environ,
        "MAILTOPIC_CLUSTER_DIR": str(settings.state),
        "PYTHONPATH": str(PACKAGE_HOME),
    }
    return run(sys.executable, "-m", "localcluster", *arguments, env=environment)


@pytest.fixture(scope="session")
def cluster() -> Iterator[ClusterClient]:
    """The cluster that is up; else one that is brought up now and taken down in the end."""
    settings = Settings.from_environment()
    was_up = "up already" in bring_up(settings).stdout
    yield ClusterClient(settings)
    if not was_up:
        down = localcluster("down", settings=settings)
        assert down.returncode == 0, down.stderr


@pytest.fixture(scope="session")
def one_node(cluster: ClusterClient) -> ClusterClient:
    """The cluster, for tests of our own one-node cluster; they are skipped on any other."""
    mode = cluster.settings.mode_file.read_text().strip()
    if mode != "node":
        pytest.skip(f"these are tests of the one-node cluster, and this one is {mode}")
    return cluster


@pytest.fixture(scope="session")
def probe_image(cluster: ClusterClient) -> str:
    """The image of our own tests' pods, loaded into the cluster."""
    toolchain = Toolchain(cache_folder(), print)
    toolchain.ensure("probe")
    archive = str(toolchain.image("probe"))
    loaded = localcluster("load", archive, settings=cluster.settings)
    if loaded.returncode:
        require("cluster", loaded.stderr)
    return PROBE_IMAGE


def bring_up(settings: Settings) -> Finished:
    """Bring a cluster up; skip the test where the machine can't, fail it where `up` fails."""
    up = localcluster("up", settings=settings)
    if up.returncode == EXIT_CODE_PREREQUISITES:
        require("cluster", " ".join(up.stderr.split()))
    if up.returncode:
        pytest.fail(f"the cluster can't be brought up: {up.stderr}", pytrace=False)
    return up
