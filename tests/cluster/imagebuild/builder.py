"""Builds the images that aren't what their sources are any more."""

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from imagebuild.base_image import base_facts, ensure_base
from imagebuild.catalogue import ROOT, STATE_DIR, Image
from imagebuild.commands import BuildError, output_of
from imagebuild.dockerfile import context_sources, read_dockerfile
from imagebuild.engines import Buildah, DockerLike, Engine
from imagebuild.fingerprint import fingerprint
from imagebuild.kafka_files import kafka_facts, write_context
from imagebuild.pass_through import build_secrets
from mailtopic_cli.kafka_distribution import cache_dir

Report = Callable[[str], None]
"""Takes one line for the person who waits."""


@dataclass(frozen=True, slots=True)
class Built:
    """An image in its archive. `took_s` is None if nothing had to be done."""

    name: str
    reference: str
    fingerprint: str
    size_bytes: int
    archive_bytes: int
    took_s: float | None = None

    @property
    def archive(self) -> Path:
        """The tar that holds it."""
        return archive_of(self.name)


def archive_of(name: str) -> Path:
    """Where the archive of the image called `name` lies."""
    return STATE_DIR / f"{name}.tar"


def recall(image: Image, wanted: str) -> Built | None:
    """Return what was built before, if it is the same and still there."""
    try:
        built = Built(**json.loads(_note_of(image.name).read_text("utf-8")))
        is_whole = built.archive.stat().st_size == built.archive_bytes
    except (OSError, ValueError, TypeError):
        return None
    return built if is_whole and built.fingerprint == wanted else None


def fingerprint_of(image: Image, engine_name: str) -> str:
    """The fingerprint of everything that an image is made of, its base included."""
    sources = [str(image.dockerfile), ".dockerignore"]
    facts = [engine_name, image.reference]
    if image.is_kafka:
        facts += kafka_facts()
    else:
        sources += context_sources(read_dockerfile(ROOT / image.dockerfile))
    if engine_name == Buildah.name:
        facts.append(base_facts())
    return fingerprint(ROOT, sources, *facts)


@contextmanager
def opened_engine(name: str) -> Iterator[Engine]:
    """Yield an engine; only one process at a time has the one with a storage of ours."""
    if name != Buildah.name:
        yield DockerLike(name)
        return
    storage = cache_dir() / "images"
    storage.mkdir(parents=True, exist_ok=True)
    with (storage / "lock").open("w") as lock, TemporaryDirectory(prefix="mailtopic-run-") as run:
        fcntl.flock(lock, fcntl.LOCK_EX)
        engine = Buildah(storage, Path(run))
        engine.tidy()
        yield engine


class Builder:
    """Builds images with one engine, and writes their archives."""

    def __init__(self, engine: Engine, report: Report) -> None:
        self._engine = engine
        self._report = report
        self._arguments: dict[str, str] | None = None

    def build(self, image: Image, wanted: str) -> Built:
        """Build one image, whatever was there before.

        Raises:
            BuildError: it can't be built.
        """
        log = STATE_DIR / f"{image.name}.log"
        log.write_text("")
        arguments = {**self._base(), "VERSION": image.tag, "REVISION": _revision()}
        if image.is_kafka:
            arguments.pop("BUILDER", None)
        started_s = time.monotonic()
        with TemporaryDirectory(prefix="context-", dir=STATE_DIR) as folder:
            context = ROOT
            if image.is_kafka:
                context = Path(folder) / "kafka"
                write_context(context)
            with build_secrets(os.environ) as secrets:
                self._engine.build(
                    image.reference,
                    dockerfile=ROOT / image.dockerfile,
                    context=context,
                    arguments=arguments,
                    secrets={} if image.is_kafka else secrets,
                    log=log,
                )
        return self._keep(image, wanted, started_s, log)

    def _keep(self, image: Image, wanted: str, started_s: float, log: Path) -> Built:
        archive = archive_of(image.name)
        part = archive.with_suffix(".part")
        part.unlink(missing_ok=True)
        self._engine.save(image.reference, part, log)
        part.replace(archive)
        built = Built(
            image.name,
            image.short_reference,
            wanted,
            self._engine.size_bytes(image.reference),
            archive.stat().st_size,
        )
        _note_of(image.name).write_text(json.dumps(asdict(built), indent=2) + "\n", "utf-8")
        return Built(**{**asdict(built), "took_s": time.monotonic() - started_s})

    def _base(self) -> dict[str, str]:
        if self._arguments is None:
            self._arguments = {}
            if isinstance(self._engine, Buildah):
                started_s = time.monotonic()
                log = STATE_DIR / "base.log"
                log.write_text("")
                base, builder = ensure_base(self._engine, cache_dir() / "images" / "debs", log)
                self._arguments = {"BASE": base, "BUILDER": builder}
                size_mb = self._engine.size_bytes(base) / 1e6
                took_s = time.monotonic() - started_s
                self._report(f"base: {base}, {size_mb:.0f} MB, {took_s:.1f} s")
        return self._arguments


def _note_of(name: str) -> Path:
    return STATE_DIR / f"{name}.json"


def _revision() -> str:
    try:
        return output_of(["git", "-C", ROOT, "rev-parse", "HEAD"])
    except BuildError:  # an unpacked archive of the sources
        return "unknown"
