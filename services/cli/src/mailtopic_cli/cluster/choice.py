"""Which cluster the commands work on."""

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Protocol

from .errors import ClusterError, PrerequisiteError
from .given import GivenCluster, given_kubeconfig
from .kind import KindCluster
from .programs import Report, run
from .settings import Settings

MODE_VARIABLE: Final = "MAILTOPIC_CLUSTER_MODE"
_ENGINES = ("docker", "podman")


class Cluster(Protocol):
    """A cluster of any kind. All methods raise ClusterError for problems the user must solve."""

    mode: str

    def up(self) -> None:
        """Bring it up with its clients unless it is up; clean up after a failure."""

    def down(self) -> None:
        """Remove what `up` made; can be called twice."""

    def load(self, archives: list[Path]) -> None:
        """Load images into the nodes."""

    def is_up(self) -> bool:
        """Whether its API server answers."""

    def describe(self) -> list[str]:
        """Return lines about its state."""


Maker = Callable[[Settings, Report], Cluster]
CLUSTERS: Final[Mapping[str, Maker]] = {
    "given": GivenCluster,
    "kind": lambda settings, report: KindCluster(settings, report, running_engine() or "docker"),
}


def choose(settings: Settings, clusters: Mapping[str, Maker], report: Report) -> Cluster:
    """Return the cluster that `up` is to bring up on this machine.

    One that is up stays the choice; else the mode that the environment names; else a kind cluster
    that was begun here, because its `up` starts or replaces it; else the cluster that the
    environment gives; else kind where a container engine runs; else a mode beyond these two.

    Raises:
        ClusterError: the environment names a mode that there isn't, or no file.
        PrerequisiteError: no cluster can be brought up on this machine.
    """
    noted = current(settings, clusters, report)
    if noted is not None and noted.is_up():
        return noted
    if mode := os.environ.get(MODE_VARIABLE):
        return _made(mode, f"{MODE_VARIABLE} must be", settings, clusters, report)
    if isinstance(noted, KindCluster) and noted.is_noted:
        return noted
    if given_kubeconfig(settings):
        return clusters["given"](settings, report)
    if running_engine():
        return clusters["kind"](settings, report)
    for mode in clusters.keys() - CLUSTERS.keys():
        return clusters[mode](settings, report)
    raise PrerequisiteError(_how_to_get_an_engine())


def current(settings: Settings, clusters: Mapping[str, Maker], report: Report) -> Cluster | None:
    """Return the cluster that `up` brought up or began to; None if there is none.

    Raises:
        ClusterError: it is of a mode that isn't among `clusters`.
    """
    if not settings.mode_file.exists():
        return None
    mode = settings.mode_file.read_text("utf-8").strip()
    return _made(mode, f"{settings.mode_file} has to name", settings, clusters, report)


def _made(
    mode: str, demand: str, settings: Settings, clusters: Mapping[str, Maker], report: Report
) -> Cluster:
    if mode in clusters:
        return clusters[mode](settings, report)
    hint = f" (make takes it: {MODE_VARIABLE}=node make …)" if mode == "node" else ""
    raise ClusterError(f"{demand} {' or '.join(clusters)}, not {mode!r}{hint}")


def running_engine() -> str | None:
    """Return the container engine that is installed and running."""
    for engine in _ENGINES:
        try:
            finished = run(engine, "info", timeout_s=20)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if finished.returncode == 0:
            return engine
    return None


def _how_to_get_an_engine() -> str:
    others = (
        f"or set KUBECONFIG to a cluster of yours, or, as root on Linux with Go, "
        f"{MODE_VARIABLE}=node for make"
    )
    for engine in filter(shutil.which, _ENGINES):
        return f"{engine} is installed but does not answer: start it, {others}"
    return f"a local cluster needs Docker or Podman, and kind: install them, {others}"
