"""The cluster that this tier's tests share; tests/cluster/conftest.py hands it to pytest."""

import os
import sys
from collections.abc import Iterator

import pytest

from mailtopic_cli.cluster.clients import link
from mailtopic_cli.cluster.errors import PrerequisiteError
from mailtopic_cli.cluster.programs import Finished, run
from mailtopic_cli.cluster.settings import Settings
from support.requirements import require

from .client import ClusterClient
from .node_settings import PACKAGE_HOME, PROBE_IMAGE, cache_folder
from .toolchain import Toolchain

GIVEN_VARIABLE = "MAILTOPIC_TEST_KUBECONFIG"
_TEST_TIMEOUT_S = 300


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Limit the tests and not the fixtures: the first one may have to build Kubernetes."""
    for item in items:
        if item.path.is_relative_to(PACKAGE_HOME) and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(_TEST_TIMEOUT_S, func_only=True))


def localcluster(*arguments: str, settings: Settings, timeout_s: float | None = None) -> Finished:
    """Run the cluster's command, as a developer would."""
    command = [sys.executable, "-m", "localcluster", *arguments]
    return run(*command, env=environment_for(settings), timeout_s=timeout_s)


def environment_for(settings: Settings) -> dict[str, str]:
    """Return the environment in which the cluster's command works on this folder."""
    given = os.environ.get(GIVEN_VARIABLE)
    return {
        **os.environ,
        **({"KUBECONFIG": given} if given else {}),
        "MAILTOPIC_CLUSTER_DIR": str(settings.state),
        "PYTHONPATH": str(PACKAGE_HOME),
    }


@pytest.fixture(scope="session")
def cluster() -> Iterator[ClusterClient]:
    """The cluster that is up; else one that is brought up now and taken down in the end."""
    settings = Settings.from_environment()
    was_up = "up already" in bring_up(settings).stdout
    if not (settings.bin / "helm3").exists():
        toolchain = Toolchain(cache_folder(), print)
        toolchain.ensure("clients")
        link(settings, "helm3", toolchain.program("helm3"))
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
    if up.returncode == PrerequisiteError.exit_code:
        require("cluster", " ".join(up.stderr.split()))
    if up.returncode:
        pytest.fail(f"the cluster can't be brought up: {up.stderr}", pytrace=False)
    return up
