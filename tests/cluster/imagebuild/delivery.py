"""Brings archives into the cluster that `make cluster` has made, if there is one."""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from imagebuild.catalogue import ROOT, STATE_DIR
from imagebuild.commands import BuildError, run_logged, succeeds

KIND_CLUSTER = "mailtopic"
_KUBECONFIG = ROOT / ".cluster" / "kubeconfig"
_DELIVERED = STATE_DIR / "delivered.json"


class Target(Protocol):
    """A cluster that takes archives."""

    @property
    def title(self) -> str:
        """What it is called in messages."""

    def identity(self) -> str:
        """Differs between this cluster and every other one that will ever be in its place."""

    def load(self, archives: Sequence[Path], log: Path) -> None:
        """Make the archives' images usable without a registry."""


class KindCluster:
    """A kind cluster, which loads archives by itself."""

    title = f"kind cluster {KIND_CLUSTER}"

    def identity(self) -> str:
        """The hash of its kubeconfig: every cluster has keys of its own."""
        return _hash_of(_KUBECONFIG)

    def load(self, archives: Sequence[Path], log: Path) -> None:
        """Load one after the other, as kind does it."""
        for archive in archives:
            run_logged(["kind", "load", "image-archive", archive, "--name", KIND_CLUSTER], log)


class LocalCluster:
    """The one-node cluster of the package `localcluster`."""

    title = "local cluster"

    def identity(self) -> str:
        """The hash of its kubeconfig: every cluster has keys of its own."""
        return _hash_of(_KUBECONFIG)

    def load(self, archives: Sequence[Path], log: Path) -> None:
        """Import all archives at once."""
        run_logged(_localcluster("load", *archives), log, env=_environment(), cwd=ROOT)


def find_target() -> Target | None:
    """Return the running cluster of this clone, or None."""
    if not _KUBECONFIG.is_file():
        return None
    if succeeds(_localcluster("status"), env=_environment()):
        return LocalCluster()
    if shutil.which("kind") and _is_kind_up():
        return KindCluster()
    return None


def undelivered(target: Target, fingerprints: Mapping[str, str]) -> list[str]:
    """The names of the images that the cluster hasn't got in this form."""
    try:
        delivered = json.loads(_DELIVERED.read_text("utf-8"))
    except (OSError, ValueError):
        delivered = {}
    known = delivered.get("images", {}) if delivered.get("cluster") == target.identity() else {}
    return [name for name, value in fingerprints.items() if known.get(name) != value]


def note_delivered(target: Target, fingerprints: Mapping[str, str]) -> None:
    """Remember what the cluster has got."""
    document = {"cluster": target.identity(), "images": dict(fingerprints)}
    _DELIVERED.write_text(json.dumps(document, indent=2) + "\n", "utf-8")


def _is_kind_up() -> bool:
    return succeeds(["kind", "get", "kubeconfig", "--name", KIND_CLUSTER])


def _localcluster(*arguments: str | Path) -> list[str | Path]:
    return [sys.executable, "-m", "localcluster", *arguments]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT / "tests" / "cluster")}


def _hash_of(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise BuildError(f"{path} can't be read: {error.strerror}") from None
