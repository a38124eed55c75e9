"""A local cluster's state folder, and its name."""

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
    """One cluster's state folder; all other paths derive from it.

    Attributes:
        state: the folder of this cluster; two clusters have separate folders and share nothing.
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
        """A name that is unique on this machine."""
        digest = hashlib.sha256(str(self.state).encode()).hexdigest()[:8]
        return f"mailtopic-{digest}"

    @property
    def kubeconfig(self) -> Path:
        """The cluster's kubeconfig; it exists while the cluster does."""
        return self.state / "kubeconfig"

    @property
    def mode_file(self) -> Path:
        """Holds the mode of the cluster that `up` brought up."""
        return self.state / "mode"

    @property
    def kind_progress(self) -> Path:
        """State of a kind cluster: `begun` or `complete`; absent without one."""
        return self.state / "kind-progress"

    @property
    def lock_file(self) -> Path:
        """Lock of the command that is changing the cluster."""
        return self.state / "lock"

    @property
    def delivered_file(self) -> Path:
        """Records which images the cluster has."""
        return self.state / "delivered.json"

    @property
    def bin(self) -> Path:
        """The cluster's clients: kubectl and helm."""
        return self.state / "bin"
