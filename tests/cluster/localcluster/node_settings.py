"""Every name, address and path of the one-node cluster, in one place."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from mailtopic_cli.cluster.errors import ClusterError
from mailtopic_cli.cluster.settings import REPOSITORY, Settings

TOOL_MODULES = REPOSITORY / "tests" / "cluster" / "tools"
# The folder that this package lies in: what a child needs on its PYTHONPATH.
PACKAGE_HOME = Path(__file__).resolve().parents[1]

# All of these live in network namespaces of the node's own: they meet nothing of the machine's,
# and two nodes may use the same ones.
NODE_NAME = "mailtopic"
NODE_IP = "10.250.0.2"
NODE_NETWORK_BITS = 24
API_PORT = 6443
POD_CIDR = "10.244.0.0/24"
SERVICE_CIDR = "10.96.0.0/16"
API_SERVICE_IP = "10.96.0.1"
DNS_SERVICE_IP = "10.96.0.10"
CLUSTER_DOMAIN = "cluster.local"
STORAGE_CLASS = "standard"
PROVISIONER = "local.mailtopic.dev/directory"

# Inside the node's mount namespace, where /run and /var/lib are its own.
CONTAINERD_SOCKET = Path("/run/containerd/containerd.sock")
GATE_SOCKET = Path("/run/mailtopic/gate.sock")
CNI_PLUGINS = Path("/run/mailtopic/cni-bin")
KUBELET_ROOT = Path("/var/lib/kubelet")
ETCD_DATA = Path("/run/mailtopic/etcd")

# A comma or a colon would end a mount option, a quote or a backslash a value in TOML.
_USABLE_PATH = re.compile(r"[^,:\"\\\s]+")
_COVERED = ("/run", "/var/run", "/var/log", "/proc", "/sys", "/dev")

PAUSE_IMAGE = "localhost/mailtopic-pause:1"
DNS_IMAGE = "localhost/mailtopic-coredns:1"
METRICS_IMAGE = "localhost/mailtopic-metrics-server:1"
# Not of the node: what its tests run in pods.
PROBE_IMAGE = "localhost/mailtopic-probe:1"
KEDA_IMAGE = "localhost/mailtopic-keda:2.21.0"
KEDA_ADAPTER_IMAGE = "localhost/mailtopic-keda-adapter:2.21.0"


@dataclass(frozen=True)
class NodeSettings(Settings):
    """The paths of a node.

    Raises:
        ClusterError: no node can live in that folder.
    """

    def __post_init__(self) -> None:
        if not _USABLE_PATH.fullmatch(str(self.state)):
            raise ClusterError(
                f"{self.state} can't hold a cluster: mounts and URLs can't take its name"
            )
        if any(self.state.is_relative_to(folder) for folder in _COVERED):
            raise ClusterError(
                f"{self.state} can't hold a cluster: the node has a folder of its own there"
            )

    @property
    def node(self) -> Path:
        """All that belongs to the one-node cluster; `down` removes it whole."""
        return self.state / "node"

    @property
    def node_bin(self) -> Path:
        return self.node / "bin"

    @property
    def pki(self) -> Path:
        return self.node / "pki"

    @property
    def config(self) -> Path:
        return self.node / "config"

    @property
    def logs(self) -> Path:
        return self.node / "logs"

    @property
    def volumes(self) -> Path:
        return self.node / "volumes"

    @property
    def failure_file(self) -> Path:
        """What the node writes before it ends because one of its parts ended."""
        return self.node / "failure.json"

    @property
    def complete_file(self) -> Path:
        """What `up` writes last: without it the node is only half made."""
        return self.node / "complete"

    @property
    def last_logs(self) -> Path:
        """The logs of the cluster that was taken down last."""
        return self.state / "last-logs"


def cache_folder() -> Path:
    """The per-user cache of built tools; it survives `down` and is shared by all clusters."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "mailtopic" / "cluster"
