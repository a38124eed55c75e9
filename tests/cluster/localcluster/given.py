"""A cluster that somebody else runs and the environment names."""

from pathlib import Path

from .clients import kubectl_for
from .errors import ClusterError
from .kubeconfigs import write_kubeconfig
from .programs import run
from .settings import Settings
from .toolchain import Report, Toolchain


class GivenCluster:
    """A given cluster: used as it is, never taken down.

    Args:
        settings: where the copy of its kubeconfig is kept.
        toolchain: for kubectl, where the machine has none.
        report: gets a line for each step.
        kubeconfig: the file to copy; None once it has been copied.
    """

    mode = "given"

    def __init__(
        self, settings: Settings, toolchain: Toolchain, report: Report, kubeconfig: Path | None
    ) -> None:
        self._settings = settings
        self._toolchain = toolchain
        self._report = report
        self._kubeconfig = kubeconfig

    def up(self) -> None:
        """Copy the kubeconfig, files that it refers to included, and see that the API answers."""
        if self._kubeconfig is not None:
            view = self._kubectl(
                self._kubeconfig, "config", "view", "--raw", "--flatten", "--minify"
            )
            write_kubeconfig(self._settings.kubeconfig, view)
        self._kubectl(self._settings.kubeconfig, "get", "--raw", "/version")
        self._report("using the given cluster")

    def down(self) -> None:
        """Forget the cluster."""
        self._settings.kubeconfig.unlink(missing_ok=True)
        self._report("the given cluster is not touched, only forgotten here")

    def load(self, archives: list[Path]) -> None:
        """Refuse: only its owner knows how images get there."""
        raise ClusterError(
            f"{len(archives)} archives can't be loaded into a given cluster: "
            "push the images where it pulls from, and name them in the charts' values"
        )

    def is_up(self) -> bool:
        """Whether its API server answers."""
        try:
            self._kubectl(self._settings.kubeconfig, "get", "--raw", "/version")
        except ClusterError:
            return False
        return True

    def describe(self) -> list[str]:
        """Return where its kubeconfig is."""
        return [f"kubeconfig: {self._settings.kubeconfig}"]

    def _kubectl(self, kubeconfig: Path, *arguments: str) -> str:
        finished = run(kubectl_for(self._toolchain), "--kubeconfig", kubeconfig, *arguments)
        if finished.returncode:
            wrote = finished.stderr.strip()[-500:]
            raise ClusterError(f"the given cluster does not answer: {wrote}")
        return finished.stdout
