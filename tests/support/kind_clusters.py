"""A kind cluster of a test's own."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from localcluster.fixtures import localcluster
from mailtopic_cli.cluster.choice import running_engine
from mailtopic_cli.cluster.programs import run
from mailtopic_cli.cluster.settings import Settings
from support.requirements import require


@pytest.fixture(scope="session")
def engine() -> str:
    """The container engine that runs here, with kind beside it."""
    found = running_engine()
    if found is None:
        require("kind", "neither Docker nor Podman runs here")
    if shutil.which("kind") is None:
        require("kind", "kind is not installed")
    return found


@contextmanager
def kind_settings(folder: Path) -> Iterator[Settings]:
    """Make a folder for one cluster; what a failed test leaves is taken down."""
    folder.mkdir()
    settings = Settings(folder)
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("KUBECONFIG", "MAILTOPIC_TEST_KUBECONFIG"):
            patch.delenv(variable, raising=False)
        patch.setenv("MAILTOPIC_CLUSTER_MODE", "kind")
        yield settings
        assert localcluster("down", settings=settings).returncode == 0


def containers(engine: str, settings: Settings) -> list[str]:
    """Return the ids of the cluster's containers, stopped ones too."""
    label = f"label=io.x-k8s.kind.cluster={settings.name}"
    return run(engine, "ps", "--all", "--quiet", "--filter", label).stdout.split()
