"""What a release is made of, each part from the tree that is released."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from support.helm import ROOT, Helm
from support.release.archives import read_archive, read_folder, write_archive
from support.release.tree import Tree, UnfitError

SUMS = "SHA256SUMS"
_NAMESPACE = uuid.UUID("6ba7b812-9dad-11d1-80b4-00c04fd430c8")  # RFC 9562's, for object ids


def packages(tree: Tree, out: Path) -> None:
    """Build a wheel and an sdist of each member in services/, with the hatchling of the lock.

    The operator is run from its image only, and what generates dashboards by developers.
    """
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(tree.epoch_s)}
    for member in sorted(path.parent for path in tree.root.glob("services/*/pyproject.toml")):
        _run(
            [
                sys.executable,
                "-m",
                "hatchling",
                "build",
                *("-t", "sdist"),
                *("-t", "wheel"),
                "-d",
                str(out),
            ],
            folder=member,
            environment=environment,
        )


def charts(tree: Tree, out: Path, helm: Helm) -> None:
    """Package the charts that can be installed.

    Helm notes the time in each package, so they are packed again. `helm push` takes the time of an
    artefact from the file.
    """
    for about in sorted(tree.root.glob("charts/*/Chart.yaml")):
        if "type: library" in about.read_text("utf-8"):
            continue
        helm.run("package", str(about.parent), "--destination", str(out))
        package = out / f"{about.parent.name}-{tree.version}.tgz"
        write_archive(package, read_archive(package), tree.epoch_s)
        os.utime(package, (tree.epoch_s, tree.epoch_s))


def manifests(tree: Tree, out: Path) -> None:
    """Write what is applied without Helm, or read by others: k8s/, CRDs, dashboards, rules."""
    crds = sorted(tree.root.glob("charts/operator/crds/*.yaml"))
    texts = [crd.read_text("utf-8").removeprefix("---\n") for crd in crds]
    (out / f"mailtopic-crds-{tree.version}.yaml").write_text("---\n".join(texts), "utf-8")
    for name, folder in (
        ("k8s", "k8s"),
        ("dashboards", "charts/mailtopic/files/dashboards"),
        ("rules", "charts/mailtopic/files/rules"),
    ):
        packed = f"mailtopic-{name}-{tree.version}"
        write_archive(
            out / f"{packed}.tar.gz", read_folder(tree.root / folder, packed), tree.epoch_s
        )
    shutil.copyfile(tree.root / "charts" / "images.txt", out / "images.txt")


def bill_of_materials(tree: Tree, out: Path) -> None:
    """Write what the lock holds as CycloneDX 1.5, and the licences of it."""
    bill = json.loads(
        _run(
            [
                *(_uv(), "export", "--quiet", "--frozen", "--offline", "--format=cyclonedx1.5"),
                *("--all-packages", "--all-extras", "--no-default-groups"),
            ],
            folder=tree.root,
        )
    )
    bill["metadata"]["timestamp"] = datetime.fromtimestamp(tree.epoch_s, UTC).isoformat()
    # Another for another content, the same for the same.
    del bill["serialNumber"]
    bill["serialNumber"] = uuid.uuid5(_NAMESPACE, json.dumps(bill)).urn
    _write_json(out / f"mailtopic-{tree.version}.cdx.json", bill)
    lines = sorted({_licence_line(each) for each in bill["components"] if "purl" in each})
    (out / "LICENCES.txt").write_text("".join(f"{line}\n" for line in lines), "utf-8")


def notes(tree: Tree, out: Path) -> None:
    """Write the release notes."""
    (out / "RELEASE_NOTES.md").write_text(tree.notes, "utf-8")


def checksums(out: Path) -> None:
    """Write SHA-256 of every file, in the form that ``sha256sum --check`` reads."""
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in sorted(out.iterdir())
        if path.name != SUMS
    ]
    (out / SUMS).write_text("".join(lines), "utf-8")


def _licence_line(component: Mapping[str, Any]) -> str:
    name = component["name"]
    try:
        about = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return f"{name} {component['version']}: not installed on Linux"
    classifiers = [
        each.rpartition(" :: ")[2]
        for each in about.get_all("Classifier", [])
        if each.startswith("License :: ")
    ]
    text = about.get("License-Expression") or ", ".join(classifiers) or about.get("License")
    return f"{name} {component['version']}: {(text or 'not stated').splitlines()[0]}"


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", "utf-8")


def _uv() -> str:
    found = shutil.which("uv") or shutil.which(ROOT / ".uv" / "bin" / "uv")
    if found is None:
        raise UnfitError("uv is missing: `make setup` brings it")
    return found


def _run(command: list[str], *, folder: Path, environment: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(  # noqa: S603 - tools of our own environment
        command, cwd=folder, env=environment, check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise UnfitError(f"{' '.join(command[:4])} failed in {folder.name}: {done.stderr.strip()}")
    return done.stdout
