"""Brings archives into the cluster that `up` has brought up."""

import hashlib
import json
from collections.abc import Sequence

from mailtopic_cli.cluster.choice import Cluster
from mailtopic_cli.cluster.programs import Report
from mailtopic_cli.cluster.settings import Settings

from .builder import Built


class Deliveries:
    """The images in the running cluster, by what was loaded into it.

    An image that was loaded is not loaded again. It does not inspect the cluster: an image
    removed there by hand is loaded again only when it changes.
    """

    def __init__(self, settings: Settings) -> None:
        self._note = settings.delivered_file
        # Every cluster has its own keys, so this also distinguishes it from earlier ones.
        self._identity = hashlib.sha256(settings.kubeconfig.read_bytes()).hexdigest()

    def missing(self, built: Sequence[Built]) -> list[Built]:
        """The images that the cluster doesn't have in this version."""
        delivered = self._delivered()
        return [one for one in built if delivered.get(one.name) != one.fingerprint]

    def note(self, built: Sequence[Built]) -> None:
        """Record what the cluster has."""
        images = {**self._delivered(), **{one.name: one.fingerprint for one in built}}
        document = {"cluster": self._identity, "images": images}
        self._note.write_text(json.dumps(document, indent=2) + "\n", "utf-8")

    def _delivered(self) -> dict[str, str]:
        try:
            document = json.loads(self._note.read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return dict(document["images"]) if document.get("cluster") == self._identity else {}


def deliver(
    built: Sequence[Built], cluster: Cluster | None, settings: Settings, report: Report
) -> None:
    """Load the missing images; report it if no cluster can take them.

    Raises:
        ClusterError: the cluster doesn't take them.
    """
    if cluster is None:
        report("no cluster is up: the archives wait for one")
    elif cluster.mode == "given":
        report("the cluster was given: push the images where it pulls from")
    elif not cluster.is_up():
        report("the cluster doesn't answer: the archives wait for it")
    else:
        deliveries = Deliveries(settings)
        missing = deliveries.missing(built)
        # Noted one by one: what was loaded before an interruption isn't loaded again.
        for one in missing:
            cluster.load([one.archive])
            deliveries.note([one])
        if not missing:
            report("the cluster has them all")
