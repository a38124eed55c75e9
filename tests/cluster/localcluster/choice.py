"""Which cluster the commands work on."""

import os
import subprocess
from pathlib import Path
from typing import Protocol

from .errors import ClusterError
from .given import GivenCluster
from .kind import KindCluster
from .node_cluster import NodeCluster
from .programs import run
from .settings import Settings
from .toolchain import Report, Toolchain

MODE_VARIABLE = "MAILTOPIC_CLUSTER_MODE"
_VARIABLES = ("MAILTOPIC_TEST_KUBECONFIG", "KUBECONFIG")


class Cluster(Protocol):
    """A cluster of any kind. All methods raise ClusterError for what the person has to know."""

    mode: str

    def up(self) -> None:
        """Bring it up, or find it up."""

    def down(self) -> None:
        """Remove whatever `up` made; twice is fine."""

    def load(self, archives: list[Path]) -> None:
        """Make images known to the nodes."""

    def is_up(self) -> bool:
        """Whether it serves."""

    def describe(self) -> list[str]:
        """Return lines about its state."""


def choose(settings: Settings, toolchain: Toolchain, report: Report) -> Cluster:
    """Return the cluster that `up` is to bring up on this machine.

    One that is up stays the choice; else the mode that the environment names; else a kind cluster
    that was begun here, because its `up` starts or replaces it; else the cluster that the
    environment gives; else kind where a container engine runs; else the one-node cluster.

    Raises:
        ClusterError: the environment names a mode that there isn't, or no file.
    """
    noted = current(settings, toolchain, report) if settings.mode_file.exists() else None
    if noted is not None and noted.is_up():
        return noted
    if by_hand := _by_hand(settings, toolchain, report):
        return by_hand
    if isinstance(noted, KindCluster) and noted.is_noted:
        return noted
    if given := given_kubeconfig(settings):
        return GivenCluster(settings, toolchain, report, given)
    if engine := running_engine():
        return KindCluster(settings, report, engine)
    return NodeCluster(settings, toolchain, report)


def _by_hand(settings: Settings, toolchain: Toolchain, report: Report) -> Cluster | None:
    mode = os.environ.get(MODE_VARIABLE)
    if not mode:
        return None
    if mode == "kind":
        return KindCluster(settings, report, running_engine() or "docker")
    if mode == "node":
        return NodeCluster(settings, toolchain, report)
    raise ClusterError(f"{MODE_VARIABLE} must be kind or node, not {mode!r}")


def current(settings: Settings, toolchain: Toolchain, report: Report) -> Cluster:
    """Return the cluster that `up` brought up; where none is noted, the one-node cluster."""
    noted = settings.mode_file.read_text().split() if settings.mode_file.exists() else ["node"]
    match noted:
        case ["given"]:
            return GivenCluster(settings, toolchain, report, None)
        case ["kind"]:
            return KindCluster(settings, report, running_engine() or "docker")
        case ["node"]:
            return NodeCluster(settings, toolchain, report)
    raise ClusterError(f"{settings.mode_file} names no kind of cluster")


def given_kubeconfig(settings: Settings) -> Path | None:
    """Return the kubeconfig that the environment names, unless it is the one that `up` wrote.

    Raises:
        ClusterError: it names a file that isn't there.
    """
    for variable in _VARIABLES:
        value = os.environ.get(variable)
        if not value:
            continue
        path = Path(value).resolve()
        if path == settings.kubeconfig.resolve():
            continue
        if not path.is_file():
            raise ClusterError(f"{variable} names {value}, which is no file")
        return path
    return None


def running_engine() -> str | None:
    """Return the container engine that not only is installed but runs."""
    for engine in ("docker", "podman"):
        try:
            finished = run(engine, "info", timeout_s=20)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if finished.returncode == 0:
            return engine
    return None
