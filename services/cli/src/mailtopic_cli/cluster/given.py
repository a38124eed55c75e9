"""An existing cluster, named by the environment."""

import os
from pathlib import Path
from typing import Final

from .clients import find_client, find_helm, link
from .errors import ClusterError
from .programs import Report, run
from .settings import Settings

_VARIABLE: Final = "KUBECONFIG"


class GivenCluster:
    """A given cluster: used as it is, never taken down.

    Args:
        settings: where the copy of its kubeconfig is kept.
        report: gets a line for each step.
    """

    mode = "given"

    def __init__(self, settings: Settings, report: Report) -> None:
        self._settings = settings
        self._report = report

    def up(self) -> None:
        """Copy the kubeconfig with the files it refers to, and check that the API answers."""
        helm, kubectl = find_helm(), _find_kubectl()
        if kubeconfig := given_kubeconfig(self._settings):
            view = _kubectl(kubeconfig, "config", "view", "--raw", "--flatten", "--minify")
            _kubectl(kubeconfig, "get", "--raw", "/version")
            write_kubeconfig(self._settings.kubeconfig, view)
        else:
            _kubectl(self._settings.kubeconfig, "get", "--raw", "/version")
        link(self._settings, "helm", helm)
        link(self._settings, "kubectl", kubectl)
        self._report("using the given cluster")

    def down(self) -> None:
        """Forget the cluster."""
        self._settings.kubeconfig.unlink(missing_ok=True)
        self._report("the given cluster is not touched, only forgotten here")

    def load(self, archives: list[Path]) -> None:
        """Refuse: there is no known way to load images into it."""
        raise ClusterError(
            f"{len(archives)} archives can't be loaded into a given cluster: "
            "push the images where it pulls from, and name them in the charts' values"
        )

    def is_up(self) -> bool:
        """Whether its API server answers."""
        try:
            _kubectl(self._settings.kubeconfig, "get", "--raw", "/version")
        except ClusterError:
            return False
        return True

    def describe(self) -> list[str]:
        """Return where its kubeconfig is."""
        return [f"kubeconfig: {self._settings.kubeconfig}"]


def given_kubeconfig(settings: Settings) -> Path | None:
    """Return the kubeconfig that KUBECONFIG names, unless it is the one that `up` wrote.

    Raises:
        ClusterError: it names a file that isn't there.
    """
    value = os.environ.get(_VARIABLE)
    if not value or Path(value).resolve() == settings.kubeconfig.resolve():
        return None
    path = Path(value).resolve()
    if not path.is_file():
        raise ClusterError(f"{_VARIABLE} names {value}, which is no file")
    return path


def write_kubeconfig(path: Path, content: str) -> None:
    """Write the file so that only its owner may read it; readers see all of it or nothing."""
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    part.touch(mode=0o600)
    part.write_text(content)
    part.replace(path)


def _find_kubectl() -> Path:
    return find_client("kubectl", "install it from kubernetes.io/docs/tasks/tools")


def _kubectl(kubeconfig: Path, *arguments: str) -> str:
    finished = run(_find_kubectl(), "--kubeconfig", kubeconfig, *arguments)
    if finished.returncode:
        wrote = finished.stderr.strip()[-500:]
        raise ClusterError(f"the given cluster does not answer: {wrote}")
    return finished.stdout
