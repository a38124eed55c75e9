"""Build k8s/ with a real kubectl, which has kustomize in it, and run k8s/secrets.sh.

It is looked for in MAILTOPIC_KUBECTL, where ``make cluster`` leaves it, and on the PATH.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from support.helm import ROOT, Manifest

OVERLAYS = ROOT / "k8s" / "overlays"
SECRETS = ROOT / "k8s" / "secrets.sh"
_TIMEOUT_S = 60


@dataclass(frozen=True)
class Kubectl:
    """A kubectl that needs no cluster for what it does here."""

    binary: Path

    def build(self, folder: Path) -> list[Manifest]:
        """Return the objects that a kustomization builds.

        Raises:
            subprocess.CalledProcessError: it can't be built.
        """
        built = self._run([str(self.binary), "kustomize", str(folder)])
        return list(yaml.load_all(built, Loader=_LOADER))

    def secrets(self, overlay: str, *, namespace: str = "mail") -> dict[str, Manifest]:
        """Return the Secrets that secrets.sh makes for an overlay, by name.

        Raises:
            subprocess.CalledProcessError: it failed.
        """
        printed = self._run([str(SECRETS), overlay, "--namespace", namespace, "--print"])
        objects = [each for each in yaml.load_all(printed, Loader=_LOADER) if each]
        return {each["metadata"]["name"]: each for each in objects}

    def _run(self, command: list[str]) -> str:
        done = subprocess.run(  # noqa: S603 - our own script, and a kubectl that was found by us
            command,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            timeout=_TIMEOUT_S,
            env=self._environment(),
        )
        return done.stdout

    def _environment(self) -> Mapping[str, str]:
        # It never reaches a cluster, whatever the configuration says.
        return {**os.environ, "KUBECTL": str(self.binary), "KUBECONFIG": os.devnull}


# Written in C where PyYAML has it: the CRDs are long.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@cache
def find_kubectl() -> Kubectl | None:
    """Return the kubectl of this machine."""
    named = os.environ.get("MAILTOPIC_KUBECTL")
    candidates = [named, str(ROOT / ".cluster" / "bin" / "kubectl"), shutil.which("kubectl")]
    found = [Path(each) for each in candidates if each and Path(each).is_file()]
    return Kubectl(found[0]) if found else None
