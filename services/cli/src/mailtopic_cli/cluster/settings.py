"""Where a local cluster keeps its state, and the name it bears."""

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from .errors import ClusterError

REPOSITORY = Path(__file__).resolve().parents[5]
"""The clone that this package is installed from."""
KIND_CONFIG = REPOSITORY / "kind-config.yaml"
DIRECTORY_VARIABLE = "MAILTOPIC_CLUSTER_DIR"


@dataclass(frozen=True)
class Settings:
    """Where one cluster keeps its state; all other paths follow.

    Attributes:
        state: the folder of this cluster; two clusters have two folders and share nothing else.
    """

    state: Path

    @classmethod
    def from_environment(cls) -> "Settings":
        """Take the folder from MAILTOPIC_CLUSTER_DIR; else it is .cluster in the clone.

        Raises:
            ClusterError: this package isn't installed from a clone.
        """
        if not KIND_CONFIG.is_file():
            raise ClusterError(
                "images and charts are those of a clone of the repository: there, `make setup` "
                "makes a .venv/bin/mailtopic that finds them"
            )
        configured = os.environ.get(DIRECTORY_VARIABLE)
        return cls(Path(configured).resolve() if configured else REPOSITORY / ".cluster")

    @cached_property
    def name(self) -> str:
        """A name that no other cluster of this machine has."""
        digest = hashlib.sha256(str(self.state).encode()).hexdigest()[:8]
        return f"mailtopic-{digest}"

    @property
    def kubeconfig(self) -> Path:
        """How the cluster is reached; it is there while there is a cluster."""
        return self.state / "kubeconfig"

    @property
    def mode_file(self) -> Path:
        """Which kind of cluster `up` brought up."""
        return self.state / "mode"

    @property
    def kind_progress(self) -> Path:
        """How far a kind cluster came: `begun` or `complete`; absent where there is none."""
        return self.state / "kind-progress"

    @property
    def lock_file(self) -> Path:
        """Held by the one command that changes the cluster."""
        return self.state / "lock"

    @property
    def delivered_file(self) -> Path:
        """Which images the cluster has got."""
        return self.state / "delivered.json"

    @property
    def bin(self) -> Path:
        """The clients that go with the cluster: kubectl and helm."""
        return self.state / "bin"
