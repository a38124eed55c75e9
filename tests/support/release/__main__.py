"""Make the files of a release: ``PYTHONPATH=tests .venv/bin/python -m support.release 0.2.0``.

They are made of the last commit, without the network, into artefacts/release/<version>. Doing it
again gives the same bytes.
"""

import shutil
import sys
import tempfile
from pathlib import Path

from support.helm import ROOT, helm_clients
from support.release import parts
from support.release.tree import UnfitError, committed
from support.release.version import VersionError

RELEASES = ROOT / "artefacts" / "release"


def release(version: str, out: Path, repository: Path = ROOT) -> None:
    """Make a release of the last commit; what was in ``out`` goes.

    Raises:
        UnfitError: the tree or the machine isn't fit for it.
        VersionError: that is no version.
    """
    clients = helm_clients()
    if not clients:
        raise UnfitError("there is no helm: `make cluster` builds it, or name one: MAILTOPIC_HELM")
    with tempfile.TemporaryDirectory() as folder:
        tree = committed(repository, version, Path(folder) / "tree")
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        parts.packages(tree, out)
        parts.charts(tree, out, clients[-1])
        parts.manifests(tree, out)
        parts.bill_of_materials(tree, out)
        parts.notes(tree, out)
        parts.checksums(out)


def main() -> None:
    """Make the release that is named, and list its files."""
    version = sys.argv[1] if len(sys.argv) > 1 else ""
    out = RELEASES / version
    try:
        release(version, out)
    except (UnfitError, VersionError) as error:
        sys.exit(f"error: {error}")
    for path in sorted(out.iterdir()):
        sys.stdout.write(f"{path.stat().st_size:>9} {path.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
