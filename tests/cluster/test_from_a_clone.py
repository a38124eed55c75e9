"""What a newcomer types, from a clone to the mail, with Docker or without."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from localcluster.client import ClusterClient
from mailtopic_cli.cluster.choice import running_engine
from mailtopic_cli.cluster.settings import Settings
from support.kube_release import RESTRICTED, Release
from support.requirements import require

REPOSITORY = Path(__file__).parents[2]
_STEP_TIMEOUT_S = 900


@dataclass
class Newcomer:
    """Somebody with a clone, who types one command after the other."""

    clone: Path
    times: list[str] = field(default_factory=list)

    def types(self, *command: str) -> str:
        """Run a command in the clone; note its time."""
        environment = {
            name: value
            for name, value in os.environ.items()
            if name not in {"KUBECONFIG", "MAILTOPIC_CLUSTER_DIR", "VIRTUAL_ENV", "PYTHONPATH"}
        }
        if running_engine() is None:
            environment["MAILTOPIC_CLUSTER_MODE"] = "node"
        began_s = time.monotonic()
        done = subprocess.run(  # noqa: S603 - the test's own commands
            command,
            cwd=self.clone,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=_STEP_TIMEOUT_S,
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}\n{done.stderr}"
        self.times.append(f"{' '.join(command[:3])} {time.monotonic() - began_s:.1f} s")
        return done.stdout


@pytest.fixture
def newcomer(tmp_path: Path) -> Iterator[Newcomer]:
    """A clone of what is committed, whose cluster goes down in the end."""
    if shutil.which("git") is None or not (REPOSITORY / ".git").exists():
        require("cluster", "a clone needs git and a repository")
    clone = tmp_path / "clone"
    newcomer = Newcomer(tmp_path)
    newcomer.types("git", "clone", "--quiet", str(REPOSITORY), str(clone))
    newcomer = Newcomer(clone)
    yield newcomer
    newcomer.types("make", "cluster-down")


@pytest.mark.timeout(1800, func_only=True)
def test_a_clone_becomes_a_cluster_that_delivers_a_mail(
    newcomer: Newcomer, figure: Callable[[str], None]
) -> None:
    if os.environ.get("MAILTOPIC_TEST_KUBECONFIG"):
        pytest.skip("cluster: a cluster is given, so there is none to bring up")
    newcomer.types("make", "setup")
    newcomer.types("make", "cluster")
    newcomer.types("make", "images")
    cluster = ClusterClient(Settings(newcomer.clone / ".cluster"))
    with cluster.namespace("newcomer", **RESTRICTED) as namespace:
        release = Release(cluster, namespace, chart=newcomer.clone / "charts" / "mailtopic")
        began_s = time.monotonic()
        # No values at all: the defaults have to do.
        release.put("install", files=())
        installed_s = time.monotonic()
        release.sign_up_and_verify("newcomer@example.com")
        verified_s = time.monotonic()
    steps = [
        *newcomer.times,
        f"helm install --wait {installed_s - began_s:.1f} s",
        f"signup to verified {verified_s - installed_s:.1f} s",
    ]
    figure(", ".join(steps))
