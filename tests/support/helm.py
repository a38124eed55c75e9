"""Render, lint and refuse charts with real Helm clients, version 3 and 4.

They are looked for in MAILTOPIC_HELM (paths, separated as in PATH), where ``make cluster`` leaves
them, and on the PATH.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
CHARTS = ROOT / "charts"
_TIMEOUT_S = 60
# The one in C reads an umbrella's objects ten times as fast.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_KUBE_VERSION = "1.34.4"

Manifest = dict[str, Any]


class HelmError(Exception):
    """Helm refused; the text is what it wrote to standard error."""


@dataclass(frozen=True)
class Helm:
    """One Helm client.

    Attributes:
        binary: its path.
        version: such as ``v4.3.1``.
    """

    binary: Path
    version: str

    @property
    def major(self) -> int:
        """3 or 4: they differ in how they apply, hardly in how they render."""
        return int(self.version.removeprefix("v").split(".")[0])

    def run(self, *arguments: str) -> str:
        """Return what a command writes to standard output.

        Raises:
            HelmError: it ended with an error.
        """
        done = subprocess.run(  # noqa: S603 - the binary was found by us
            [self.binary, *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
        )
        if done.returncode:
            raise HelmError(done.stderr.strip() or done.stdout.strip())
        return done.stdout

    def template(
        self,
        chart: str | Path,
        values: Mapping[str, Any] | None = None,
        *,
        files: Sequence[Path] = (),
        release: str = "mailtopic",
        namespace: str = "mail",
        options: Sequence[str] = (),
    ) -> list[Manifest]:
        """Return the objects that a chart of ours, or one at a path, renders to; hooks as well.

        ``values`` come after ``files``. There is no cluster, so ``lookup`` finds nothing.

        Raises:
            HelmError: the chart refused the values.
        """
        arguments = ["template", release, str(CHARTS / chart), "--namespace", namespace]
        arguments += ["--kube-version", _KUBE_VERSION]
        arguments += [f"--values={file}" for file in files]
        # Every value as JSON: what --set would make of commas and numbers is no concern of ours.
        arguments += [
            f"--set-json={key}={json.dumps(value)}" for key, value in (values or {}).items()
        ]
        rendered = self.run(*arguments, *options)
        return [document for document in yaml.load_all(rendered, _LOADER) if document]

    def lint(self, chart: str | Path, *, files: Sequence[Path] = ()) -> str:
        """Return what ``lint --strict`` has to say.

        Raises:
            HelmError: there is an error or a warning.
        """
        chosen = [f"--values={file}" for file in files]
        return self.run("lint", "--strict", str(CHARTS / chart), *chosen)


@cache
def helm_clients() -> tuple[Helm, ...]:
    """Return the Helm clients of this machine, at most one for each major version."""
    named = [Path(item) for item in os.environ.get("MAILTOPIC_HELM", "").split(os.pathsep) if item]
    local = [ROOT / ".cluster" / "bin" / name for name in ("helm", "helm3")]
    on_path = [Path(found) for name in ("helm", "helm3") if (found := shutil.which(name))]
    clients: dict[int, Helm] = {}
    for binary in [*named, *local, *on_path]:
        if binary.is_file():
            client = Helm(binary, _version(binary))
            clients.setdefault(client.major, client)
    return tuple(clients[major] for major in sorted(clients))


def charts() -> tuple[str, ...]:
    """Return the names of all charts of this repository."""
    return tuple(sorted(path.parent.name for path in CHARTS.glob("*/Chart.yaml")))


def find(objects: Sequence[Manifest], kind: str, name: str) -> Manifest:
    """Return the object of a kind with a name.

    Raises:
        AssertionError: there is none, or there are several.
    """
    found = [o for o in objects if o["kind"] == kind and o["metadata"]["name"] == name]
    have = sorted(f"{o['kind']}/{o['metadata']['name']}" for o in objects)
    assert len(found) == 1, f"{len(found)} of {kind}/{name} among {have}"
    return found[0]


def pod_templates(objects: Sequence[Manifest]) -> dict[str, Manifest]:
    """Return every pod template (metadata and spec) by ``Kind/name`` of what it belongs to."""
    templates: dict[str, Manifest] = {}
    for each in objects:
        where = f"{each['kind']}/{each['metadata']['name']}"
        if each["kind"] == "Pod":
            templates[where] = {"metadata": each["metadata"], "spec": each["spec"]}
        elif each["kind"] == "CronJob":
            templates[where] = each["spec"]["jobTemplate"]["spec"]["template"]
        elif "template" in each.get("spec", {}) and "spec" in each["spec"]["template"]:
            templates[where] = each["spec"]["template"]
    return templates


def containers(template: Manifest) -> list[Manifest]:
    """Return a pod template's containers, those that start first among them."""
    spec = template["spec"]
    return [*spec.get("initContainers", []), *spec["containers"]]


def _version(binary: Path) -> str:
    done = subprocess.run(  # noqa: S603 - the binary was found by us
        [binary, "version", "--short"],
        check=True,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
    )
    found = re.search(r"v[0-9]+(\.[0-9]+)+", done.stdout)
    if found is None:
        raise HelmError(f"{binary} does not tell its version: {done.stdout.strip()}")
    return found[0]
