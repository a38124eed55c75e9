"""Images of a single program, written without a builder: what the node itself runs as pods."""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Fixed, so that the same program gives the same image.
_CREATED = "1970-01-01T00:00:00Z"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def go_architecture() -> str:
    """Return this machine's architecture by the name that Go and OCI use."""
    machine = platform.machine()
    return _ARCHITECTURES.get(machine, machine)


def write_image(archive: Path, *, name: str, program: Path, libraries: Sequence[Path] = ()) -> None:
    """Write an OCI archive with one program as its entrypoint.

    Args:
        archive: the file to write.
        name: the image's name with its tag.
        program: goes into the image's root, under its own name.
        libraries: what it is linked with, if not statically; each keeps its absolute path.
    """
    layer = _layer(program, libraries)
    layer_digest = _digest(layer)
    # Layers are not compressed: they go from this disk to this disk.
    config = _encoded(
        {
            "architecture": go_architecture(),
            "os": "linux",
            "created": _CREATED,
            "config": {"Entrypoint": [f"/{program.name}"], "WorkingDir": "/", "User": "65532"},
            "rootfs": {"type": "layers", "diff_ids": [layer_digest]},
        }
    )
    manifest_type = "application/vnd.oci.image.manifest.v1+json"
    manifest = _encoded(
        {
            "schemaVersion": 2,
            "mediaType": manifest_type,
            "config": _described("application/vnd.oci.image.config.v1+json", config),
            "layers": [_described("application/vnd.oci.image.layer.v1.tar", layer)],
        }
    )
    index = _encoded(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [
                {
                    **_described(manifest_type, manifest),
                    "platform": {"architecture": go_architecture(), "os": "linux"},
                    "annotations": {"io.containerd.image.name": name},
                }
            ],
        }
    )
    with tarfile.open(archive, "w") as tar:
        _add(tar, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        for blob in (layer, config, manifest):
            _add(tar, f"blobs/sha256/{_digest(blob).removeprefix('sha256:')}", blob)
        _add(tar, "index.json", index)


def _layer(program: Path, libraries: Sequence[Path]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        _add(tar, program.name, program.read_bytes(), mode=0o755)
        for library in libraries:
            _add(tar, str(library).removeprefix("/"), library.read_bytes(), mode=0o755)
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    tar.addfile(entry, io.BytesIO(content))


def _described(media_type: str, blob: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": _digest(blob), "size": len(blob)}


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


def _encoded(document: dict[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True).encode()
