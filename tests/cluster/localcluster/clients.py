"""The clients beside the cluster: .cluster/bin/{kubectl,helm,helm3}."""

import shutil
from pathlib import Path

from .programs import run
from .settings import Settings
from .toolchain import Toolchain


def link_clients(settings: Settings, toolchain: Toolchain, mode: str) -> None:
    """Link the clients: our own builds, or what the machine has where the cluster isn't ours."""
    settings.bin.mkdir(exist_ok=True)
    on_machine = {} if mode == "node" else _clients_on_machine()
    if "kubectl" not in on_machine:
        toolchain.ensure("kubernetes")
    if not {"helm", "helm3"} <= set(on_machine):
        toolchain.ensure("clients")
    for name in ("kubectl", "helm", "helm3"):
        link = settings.bin / name
        link.unlink(missing_ok=True)
        link.symlink_to(on_machine.get(name) or toolchain.program(name))


def kubectl_for(toolchain: Toolchain) -> Path:
    """Return the machine's kubectl, or our own build where it has none."""
    found = _clients_on_machine().get("kubectl")
    if found is not None:
        return found
    toolchain.ensure("kubernetes")
    return toolchain.program("kubectl")


def _clients_on_machine() -> dict[str, Path]:
    found = {}
    if kubectl := shutil.which("kubectl"):
        found["kubectl"] = Path(kubectl)
    if helm := shutil.which("helm"):
        version = run(helm, "version", "--template", "{{.Version}}").stdout
        if version.startswith(("v3.", "v4.")):
            found["helm" if version.startswith("v4.") else "helm3"] = Path(helm)
    return found
