"""A cluster by kind, where Docker or Podman runs."""

import os
import shutil
from pathlib import Path

from .errors import ClusterError, PrerequisiteError
from .programs import Finished, run
from .settings import Settings
from .toolchain import Report


class KindCluster:
    """A kind cluster of this state folder's own.

    Args:
        settings: where its kubeconfig is written.
        report: gets a line for each step.
        engine: docker or podman.
    """

    mode = "kind"

    def __init__(self, settings: Settings, report: Report, engine: str) -> None:
        self._settings = settings
        self._report = report
        self._engine = engine

    def up(self) -> None:
        """Create the cluster, or write the kubeconfig of the one that is there."""
        kubeconfig = str(self._settings.kubeconfig)
        if self._exists():
            self._kind("export", "kubeconfig", "--kubeconfig", kubeconfig)
            self._report("the kind cluster is up already")
            return
        self._report(f"creating a kind cluster with {self._engine}")
        self._kind("create", "cluster", "--kubeconfig", kubeconfig, "--wait", "180s")

    def down(self) -> None:
        """Delete the cluster."""
        self._kind("delete", "cluster", "--kubeconfig", str(self._settings.kubeconfig))
        self._settings.kubeconfig.unlink(missing_ok=True)
        self._report("the kind cluster is down")

    def load(self, archives: list[Path]) -> None:
        """Load archives into the nodes."""
        for archive in archives:
            self._kind("load", "image-archive", str(archive))
            self._report(f"loaded {archive.name}")

    def is_up(self) -> bool:
        """Whether kind knows the cluster."""
        return self._exists()

    def describe(self) -> list[str]:
        """Return its name and where its kubeconfig is."""
        return [
            f"kind cluster {self._settings.name} on {self._engine}",
            f"kubeconfig: {self._settings.kubeconfig}",
        ]

    def _exists(self) -> bool:
        return self._settings.name in self._run("get", "clusters").stdout.split()

    def _kind(self, *arguments: str) -> None:
        finished = self._run(*arguments, "--name", self._settings.name)
        if finished.returncode:
            command = " ".join(arguments[:2])
            raise ClusterError(f"kind {command} failed: {finished.stderr.strip()[-2000:]}")

    def _run(self, *arguments: str) -> Finished:
        program = shutil.which("kind")
        if program is None:
            raise PrerequisiteError(
                f"{self._engine} runs here, but kind is missing: install it with "
                "`go install sigs.k8s.io/kind@latest` or from kind.sigs.k8s.io, "
                "or set KUBECONFIG to a cluster of yours"
            )
        environment = {**os.environ, "KIND_EXPERIMENTAL_PROVIDER": self._engine}
        return run(program, *arguments, env=environment)
