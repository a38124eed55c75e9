"""The images of the charts, built and in the cluster."""

import pytest

from localcluster.client import ClusterClient
from localcluster.fixtures import localcluster
from support.requirements import require

_BUILD_TIMEOUT_S = 900


@pytest.fixture(scope="session")
def images(cluster: ClusterClient) -> None:
    """Build what `make images` builds, and load it; skip where no engine can."""
    done = localcluster("images", settings=cluster.settings, timeout_s=_BUILD_TIMEOUT_S)
    if done.returncode:
        require("cluster", f"the images can't be built: {' '.join(done.stderr.split())[-800:]}")
