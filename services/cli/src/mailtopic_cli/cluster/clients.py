"""kubectl and Helm for the local cluster."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from .errors import ClientError, PrerequisiteError
from .programs import Finished, run
from .settings import Settings

_TIMEOUT_S = 60


class Clients:
    """The clients in a cluster's folder, with its kubeconfig.

    All methods raise ClientError when a checked command fails.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @property
    def kubeconfig(self) -> Path:
        """Return the path of the cluster's kubeconfig."""
        return self.settings.kubeconfig

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which a program uses this cluster and no other."""
        path = f"{self.settings.bin}:{os.environ.get('PATH', os.defpath)}"
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig), "PATH": path}

    def run(
        self,
        *command: str,
        text: str | None = None,
        check: bool = True,
        timeout_s: float = _TIMEOUT_S,
    ) -> Finished:
        """Run a command against the cluster.

        Args:
            command: a program of the cluster's folder, or any other, with its arguments.
            text: what it reads on standard input.
            check: whether to raise if it fails.
            timeout_s: it fails after this time.
        """
        try:
            finished = run(*command, text=text, env=self.environment, timeout_s=timeout_s)
        except subprocess.TimeoutExpired as error:
            raise ClientError(f"{' '.join(command)}: not within {timeout_s:g} s") from error
        if check and finished.returncode:
            wrote = f"{finished.stdout}\n{finished.stderr}".strip()
            raise ClientError(f"{' '.join(command)} ended with {finished.returncode}: {wrote}")
        return finished

    def kubectl(
        self, *arguments: str, text: str | None = None, timeout_s: float = _TIMEOUT_S
    ) -> str:
        """Run kubectl; return what it printed."""
        return self.run(self.program("kubectl"), *arguments, text=text, timeout_s=timeout_s).stdout

    def helm(self, *arguments: str, timeout_s: float = 5 * _TIMEOUT_S) -> str:
        """Run Helm; return what it printed."""
        return self.run(self.program("helm"), *arguments, timeout_s=timeout_s).stdout

    def get(self, what: str, *, namespace: str = "default") -> dict[str, Any]:
        """Return one object, named like ``pod/web``, or a list, named like ``pods``."""
        found = self.kubectl("get", what, "--namespace", namespace, "--output=json")
        document: dict[str, Any] = json.loads(found)
        return document

    def program(self, name: str) -> str:
        """Return the path of a client in the cluster's folder."""
        return str(self.settings.bin / name)


def find_client(name: str, how_to_get_it: str) -> Path:
    """Return a client of this machine.

    Raises:
        PrerequisiteError: it isn't installed.
    """
    found = shutil.which(name)
    if found is None:
        raise PrerequisiteError(f"{name} is missing: {how_to_get_it}")
    return Path(found).resolve()


def find_helm() -> Path:
    """Return the machine's Helm.

    Raises:
        PrerequisiteError: it isn't installed, or is Helm 2.
    """
    how_to_get_it = "install Helm 3 or 4 from helm.sh"
    helm = find_client("helm", how_to_get_it)
    version = run(helm, "version", "--template", "{{.Version}}").stdout
    if not version.startswith(("v3.", "v4.")):
        raise PrerequisiteError(f"{helm} is neither Helm 3 nor 4: {how_to_get_it}")
    return helm


def link(settings: Settings, name: str, program: Path) -> None:
    """Put a client into the cluster's folder."""
    path = settings.bin / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(program)
