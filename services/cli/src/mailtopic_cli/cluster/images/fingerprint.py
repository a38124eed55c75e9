"""A hash of an image's inputs: if it is unchanged, the image need not be built."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

_IGNORED = {"__pycache__", ".pytest_cache", ".ruff_cache", ".mypy_cache"}


def fingerprint(root: Path, sources: Iterable[str], *facts: str) -> str:
    """Return the SHA-256 (hex) of the files below `sources`, their names and `facts`.

    Caches and bytecode don't count, as .dockerignore keeps them out of a build. Times don't
    count either.

    Raises:
        FileNotFoundError: a source isn't there.
    """
    digest = hashlib.sha256()
    for fact in facts:
        _add(digest, fact.encode())
    for source in sources:
        for path in _files(root / source):
            _add(digest, str(path.relative_to(root)).encode())
            mode = b"x" if path.stat().st_mode & 0o100 else b"-"
            _add(digest, mode + path.read_bytes())
    return digest.hexdigest()


def _add(digest: "hashlib._Hash", part: bytes) -> None:
    # Length-prefixed, so that different lists of parts can't have the same hash.
    digest.update(len(part).to_bytes(8, "big") + part)


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for child in sorted(path.iterdir()):
        if child.name not in _IGNORED and child.suffix != ".pyc":
            yield from _files(child)
