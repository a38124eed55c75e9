"""Archives that are the same bytes whenever they are made of the same files."""

import gzip
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

_LEVEL = 9


def write_archive(path: Path, files: Mapping[str, bytes], epoch_s: int) -> None:
    """Write a .tar.gz of files, given by their names in it, all with one time and one owner.

    The bytes depend on names, content, time and the zlib that compresses, on nothing else.
    """
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name in sorted(files):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(files[name]), epoch_s
            entry.mode = 0o755 if name.endswith(".sh") else 0o644
            archive.addfile(entry, io.BytesIO(files[name]))
    path.write_bytes(gzip.compress(plain.getvalue(), _LEVEL, mtime=0))


def read_archive(path: Path) -> dict[str, bytes]:
    """Return the files of a .tar.gz by their names in it."""
    files: dict[str, bytes] = {}
    with tarfile.open(path, "r:gz") as archive:
        for entry in archive:
            content = archive.extractfile(entry)
            if content is not None:
                files[entry.name] = content.read()
    return files


def read_folder(folder: Path, name: str) -> dict[str, bytes]:
    """Return the files below a folder by their names in an archive, below ``name``."""
    return {
        f"{name}/{path.relative_to(folder)}": path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
