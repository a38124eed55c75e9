"""Brings archives into the cluster that `make cluster` has brought up, if one is up."""

import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from imagebuild.catalogue import ROOT
from imagebuild.commands import BuildError, run_logged, succeeds
from localcluster.errors import ClusterError
from localcluster.settings import Settings


class Target:
    """The running cluster, and what is known of its images.

    Promises that an image that was delivered is not delivered again. Does not look into the
    cluster: what somebody removed there by hand stays away until the image changes.
    """

    def __init__(self, settings: Settings) -> None:
        self._note = settings.delivered_file
        # Every cluster has keys of its own, so this also tells it from those before it.
        self._identity = hashlib.sha256(settings.kubeconfig.read_bytes()).hexdigest()

    def lacks(self, fingerprints: Mapping[str, str]) -> list[str]:
        """The names of the images that the cluster hasn't got in this form."""
        delivered = self._delivered()
        return [name for name, value in fingerprints.items() if delivered.get(name) != value]

    def load(self, archives: Sequence[Path], log: Path) -> None:
        """Make the archives' images usable without a registry.

        Raises:
            BuildError: the cluster doesn't take them.
        """
        run_logged(_localcluster("load", *archives), log, env=_environment())

    def note(self, fingerprints: Mapping[str, str]) -> None:
        """Remember what the cluster has got."""
        images = {**self._delivered(), **fingerprints}
        document = {"cluster": self._identity, "images": images}
        self._note.write_text(json.dumps(document, indent=2) + "\n", "utf-8")

    def _delivered(self) -> dict[str, str]:
        try:
            document = json.loads(self._note.read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return dict(document["images"]) if document.get("cluster") == self._identity else {}


def find_target() -> Target | str:
    """Return the cluster to deliver to, or in words why there is none.

    Raises:
        BuildError: the state of the cluster is no such thing.
    """
    try:
        settings = Settings.from_environment()
    except ClusterError as error:
        raise BuildError(str(error)) from None
    if not settings.kubeconfig.is_file() or not settings.mode_file.is_file():
        return "no cluster is up"
    if settings.mode_file.read_text("utf-8").split() == ["given"]:
        return "the cluster was given: push the images where it pulls from"
    if not succeeds(_localcluster("status"), env=_environment()):
        return "the cluster doesn't answer"
    return Target(settings)


def _localcluster(*arguments: str | Path) -> list[str | Path]:
    return [sys.executable, "-m", "localcluster", *arguments]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT / "tests" / "cluster")}
