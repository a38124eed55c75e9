"""The version of everything here: ``PYTHONPATH=tests python -m support.release.version 0.2.0``.

Members, charts, tags of images, the lock and what is generated from them all have the same one;
this writes it to every place, and reads it from one of them.
"""

import re
import subprocess
import sys
from pathlib import Path

from support.helm import ROOT

_FORM = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*)){2}")
_READ_FROM = Path("services/contract/pyproject.toml")
# By name of a file: what stands around the version in it.
_AROUND = (
    ("pyproject.toml", r'(?m)(^version = "|"mailtopic-[a-z]+(?:\[[a-z]+\])?==)@(?=")'),
    ("uv.lock", r'(name = "mailtopic-[a-z]+"\nversion = ")@(?=")'),
    ("Dockerfile", r"(?m)(^ARG VERSION=)@$"),
    ("Chart.yaml", r"(?m)(^ *(?:appV|v)ersion: )@$"),
)
# In any file: references to our images, and Kubernetes's label.
_ANYWHERE = r"(\bmailtopic/[a-z]+:|app\.kubernetes\.io/version: )@(?![0-9.])"


class VersionError(Exception):
    """It is no version of a release; says so in one line."""


def checked(version: str) -> str:
    """Return a version, three numbers as Semantic Versioning has them.

    Raises:
        VersionError: it is anything else.
    """
    if not _FORM.fullmatch(version):
        raise VersionError(f"{version!r} is no version such as 0.2.0: name it with VERSION=0.2.0")
    return version


def current(root: Path = ROOT) -> str:
    """Return the version that a tree has now."""
    found = re.search(r'(?m)^version = "(.+)"$', (root / _READ_FROM).read_text("utf-8"))
    assert found is not None
    return found[1]


def write(version: str, root: Path = ROOT) -> list[Path]:
    """Put a version in place of the present one in all tracked files; return the changed ones."""
    before, changed = current(root), []
    for path in _tracked(root):
        # As bytes and back, so that the ends of lines stay.
        raw = path.read_bytes()
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            continue
        new = _replaced(path.name, text, before, version).encode()
        if new != raw:
            path.write_bytes(new)
            changed.append(path)
    return changed


def _replaced(name: str, text: str, before: str, version: str) -> str:
    around = [pattern for ending, pattern in _AROUND if name == ending]
    for pattern in (*around, _ANYWHERE):
        text = re.sub(pattern.replace("@", re.escape(before)), rf"\g<1>{version}", text)
    return text


def _tracked(root: Path) -> list[Path]:
    done = subprocess.run(  # noqa: S603 - git itself
        ["git", "-C", str(root), "ls-files", "-z"],  # noqa: S607 - the git of this machine
        check=True,
        capture_output=True,
        text=True,
    )
    paths = [root / name for name in done.stdout.split("\0") if name]
    return [path for path in paths if path.is_file() and not path.is_symlink()]


def main() -> None:
    """Write the version that is named."""
    try:
        version = checked(sys.argv[1] if len(sys.argv) > 1 else "")
    except VersionError as error:
        sys.exit(f"error: {error}")
    for path in write(version):
        sys.stdout.write(f"wrote {path.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
