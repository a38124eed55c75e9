"""The clients beside the cluster: .cluster/bin/{kubectl,helm,helm3}."""

import shutil
from pathlib import Path

from .errors import PrerequisiteError
from .programs import run
from .settings import Settings
from .toolchain import Toolchain

_HELMS = ("helm", "helm3")


def link_clients(settings: Settings, toolchain: Toolchain, mode: str) -> None:
    """Link the clients: our own builds, or what the machine has where the cluster isn't ours.

    A kind cluster brings its kubectl itself, and one Helm, of either version, is enough there.

    Raises:
        PrerequisiteError: there is no Helm, and no Go to build one.
    """
    settings.bin.mkdir(exist_ok=True)
    on_machine = {} if mode == "node" else _clients_on_machine()
    if mode == "kind":
        _link_helm(settings, toolchain, on_machine)
        return
    if "kubectl" not in on_machine:
        toolchain.ensure("kubernetes")
    if not set(_HELMS) <= set(on_machine):
        toolchain.ensure("clients")
    for name in ("kubectl", *_HELMS):
        _link(settings, name, on_machine.get(name) or toolchain.program(name))


def kubectl_for(toolchain: Toolchain) -> Path:
    """Return the machine's kubectl, or our own build where it has none."""
    found = _clients_on_machine().get("kubectl")
    if found is not None:
        return found
    toolchain.ensure("kubernetes")
    return toolchain.program("kubectl")


def _link_helm(settings: Settings, toolchain: Toolchain, on_machine: dict[str, Path]) -> None:
    found = {name: on_machine[name] for name in _HELMS if name in on_machine}
    if not found:
        if shutil.which("go") is None:
            raise PrerequisiteError("Helm is missing: install Helm 3 or 4 from helm.sh")
        toolchain.ensure("clients")
        found = {name: toolchain.program(name) for name in _HELMS}
    for name, program in found.items():
        _link(settings, name, program)
    if "helm" not in found:
        _link(settings, "helm", found["helm3"])


def _link(settings: Settings, name: str, program: Path) -> None:
    link = settings.bin / name
    link.unlink(missing_ok=True)
    link.symlink_to(program)


def _clients_on_machine() -> dict[str, Path]:
    found = {}
    if kubectl := shutil.which("kubectl"):
        found["kubectl"] = Path(kubectl)
    if helm := shutil.which("helm"):
        version = run(helm, "version", "--template", "{{.Version}}").stdout
        if version.startswith(("v3.", "v4.")):
            found["helm" if version.startswith("v4.") else "helm3"] = Path(helm)
    return found
