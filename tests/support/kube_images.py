"""The images of the charts, built and in the cluster."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from localcluster.client import ClusterClient
from support.requirements import require

REPOSITORY = Path(__file__).parents[2]
_BUILD_TIMEOUT_S = 900


@pytest.fixture(scope="session")
def images(cluster: ClusterClient) -> None:
    """Build what `make images` builds, and load it; skip where no engine can."""
    environment = {
        **os.environ,
        "MAILTOPIC_CLUSTER_DIR": str(cluster.settings.state),
        "PYTHONPATH": str(REPOSITORY / "tests" / "cluster"),
    }
    done = subprocess.run(
        [sys.executable, "-m", "imagebuild"],
        env=environment,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=_BUILD_TIMEOUT_S,
    )
    if done.returncode:
        require("cluster", f"the images can't be built: {' '.join(done.stderr.split())[-800:]}")
