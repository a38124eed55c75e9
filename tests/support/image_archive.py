"""Reads an image's archive (`docker save`, `buildah push docker-archive:`) without an engine."""

import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

_WHITEOUT = ".wh."


@dataclass(frozen=True, slots=True)
class Entry:
    """What lies at one path of an image, whatever layer it comes from."""

    path: str
    mode: int
    uid: int
    gid: int
    is_link: bool
    is_file: bool
    size_bytes: int


class ImageArchive:
    """One archive with one image."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with tarfile.open(path) as archive:
            (self._manifest,) = _json(archive, "manifest.json")
            self._document = _json(archive, self._manifest["Config"])

    @property
    def names(self) -> list[str]:
        """The image's names."""
        return list(self._manifest["RepoTags"])

    @property
    def config(self) -> dict[str, Any]:
        """User, Env, Entrypoint, Labels and so on."""
        found: dict[str, Any] = self._document["config"]
        return found

    @property
    def document(self) -> str:
        """The whole configuration with its history, as text."""
        return json.dumps(self._document)

    def entries(self) -> list[Entry]:
        """What the layers amount to, one on top of the other."""
        found: dict[str, Entry] = {}
        for layer in self._layers():
            for member in layer:
                path = PurePosixPath("/", member.name)
                if path.name.startswith(_WHITEOUT):
                    gone = str(path.with_name(path.name.removeprefix(_WHITEOUT)))
                    found = {p: e for p, e in found.items() if not f"{p}/".startswith(f"{gone}/")}
                else:
                    found[str(path)] = Entry(
                        str(path),
                        member.mode & 0o7777,
                        member.uid,
                        member.gid,
                        member.issym() or member.islnk(),
                        member.isfile(),
                        member.size,
                    )
        return list(found.values())

    def files_with(self, needles: list[bytes]) -> list[tuple[str, bytes]]:
        """Each file of any layer, also a hidden one, that holds one of these byte strings."""
        found = []
        for layer in self._layers():
            for member in layer:
                file = layer.extractfile(member) if member.isfile() else None
                content = file.read() if file else b""
                found += [(member.name, needle) for needle in needles if needle in content]
        return found

    def unpack(self, root: Path) -> None:
        """Write the image's files below `root`, with their owners: for root only."""
        root.mkdir(parents=True)
        tar = shutil.which("tar") or "tar"
        with tarfile.open(self._path) as archive:
            for name in self._manifest["Layers"]:
                source = archive.extractfile(name)
                assert source is not None
                options = ["--extract", "--keep-directory-symlink", "--directory", str(root)]
                with subprocess.Popen(  # noqa: S603 - fixed
                    [tar, *options], stdin=subprocess.PIPE
                ) as process:
                    assert process.stdin is not None
                    shutil.copyfileobj(source, process.stdin)
                    process.stdin.close()
                assert process.returncode == 0
                _apply_whiteouts(root)

    def _layers(self) -> Iterator[tarfile.TarFile]:
        with tarfile.open(self._path) as archive:
            for name in self._manifest["Layers"]:
                with tarfile.open(fileobj=archive.extractfile(name)) as layer:
                    yield layer


def _apply_whiteouts(root: Path) -> None:
    for mark in list(root.rglob(f"{_WHITEOUT}*")):
        gone = mark.with_name(mark.name.removeprefix(_WHITEOUT))
        if gone.is_dir() and not gone.is_symlink():
            shutil.rmtree(gone)
        else:
            gone.unlink(missing_ok=True)
        mark.unlink()


def _json(archive: tarfile.TarFile, name: str) -> Any:
    file = archive.extractfile(name)
    assert file is not None
    return json.load(file)
