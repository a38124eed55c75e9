"""What is released: the tree of the last commit, if it is fit for that."""

import re
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from support.release.version import checked, current

CHANGELOG = "CHANGELOG.md"


class UnfitError(Exception):
    """The tree can't be released; says in one line what to do."""


@dataclass(frozen=True, slots=True)
class Tree:
    """An unpacked copy of the last commit.

    Attributes:
        root: where it is.
        version: its version.
        epoch_s: when it was committed; the time of everything that is made of it.
        notes: the CHANGELOG's section on the version.
    """

    root: Path
    version: str
    epoch_s: int
    notes: str


def committed(repository: Path, version: str, folder: Path) -> Tree:
    """Unpack the last commit of a repository into a folder.

    Raises:
        UnfitError: it has another version, changes that aren't committed, or nothing in the
            CHANGELOG about the version.
        VersionError: that is no version.
    """
    checked(version)
    if _git(repository, "status", "--porcelain"):
        raise UnfitError("there are changes that aren't committed: commit or stash them")
    if (found := current(repository)) != version:
        raise UnfitError(
            f"the tree has version {found}: `make version VERSION={version}`, then commit"
        )
    notes = _section(repository / CHANGELOG, version)
    archive = folder.with_suffix(".tar")
    _git(repository, "archive", "--format=tar", f"--output={archive}", "HEAD")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="tar")
    archive.unlink()
    return Tree(folder, version, int(_git(repository, "log", "-1", "--format=%ct")), notes)


def _section(changelog: Path, version: str) -> str:
    head = rf"(?m)^## {re.escape(version)}(?: .*)?$"
    parts = re.split(head, changelog.read_text("utf-8"))
    text = re.split(r"(?m)^## ", parts[1])[0].strip() if len(parts) > 1 else ""
    if not text:
        raise UnfitError(
            f"{CHANGELOG} says nothing under `## {version}`: name the section of what is "
            "unreleased so, and commit"
        )
    return f"{text}\n"


def _git(repository: Path, *arguments: str) -> str:
    git = shutil.which("git")
    if git is None:
        raise UnfitError("git is needed")
    done = subprocess.run(  # noqa: S603 - git itself
        [git, "-C", str(repository), *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()
