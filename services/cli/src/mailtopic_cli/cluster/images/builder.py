"""Builds the images with changed sources."""

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from mailtopic_cli.cluster.errors import ClusterError
from mailtopic_cli.cluster.programs import Report, output_of
from mailtopic_cli.cluster.settings import REPOSITORY

from .catalogue import STATE_DIR, Image, catalogue
from .dockerfile import context_sources, read_dockerfile
from .engines import Engine, EngineChoice
from .fingerprint import fingerprint
from .kafka_files import kafka_facts, write_context
from .pass_through import build_secrets


@dataclass(frozen=True, slots=True)
class Built:
    """An image in its archive. `took_s` is None if nothing had to be done."""

    name: str
    reference: str
    fingerprint: str
    size_bytes: int
    archive_bytes: int
    took_s: float | None = None

    def __str__(self) -> str:
        return f"{self.name}: {self.reference}, {self.size_bytes / 1e6:.0f} MB"

    @property
    def archive(self) -> Path:
        """The tar that holds it."""
        return archive_of(self.name)


def archive_of(name: str) -> Path:
    """Where the archive of the image called `name` lies."""
    return STATE_DIR / f"{name}.tar"


def recall(image: Image, wanted: str) -> Built | None:
    """Return the earlier build, if it is unchanged and still there."""
    try:
        built = Built(**json.loads(_note_of(image.name).read_text("utf-8")))
        is_whole = built.archive.stat().st_size == built.archive_bytes
    except (OSError, ValueError, TypeError):
        return None
    return built if is_whole and built.fingerprint == wanted else None


def fingerprint_of(image: Image, *engine_facts: str) -> str:
    """The fingerprint of everything that an image is made of, its base included."""
    sources = [str(image.dockerfile), ".dockerignore"]
    facts = [*engine_facts, image.reference]
    if image.is_kafka:
        facts += kafka_facts()
    else:
        sources += context_sources(read_dockerfile(REPOSITORY / image.dockerfile))
    return fingerprint(REPOSITORY, sources, *facts)


def chosen(names: Sequence[str]) -> list[Image]:
    """Return the images of these names; all of them if none is given.

    Raises:
        ClusterError: there is none of a name.
    """
    images = catalogue()
    known = [image.name for image in images]
    for name in names:
        if name not in known:
            raise ClusterError(f"there is no image called {name}; there are {', '.join(known)}")
    return [image for image in images if image.name in (names or known)]


def build(
    images: Sequence[Image],
    engines: Mapping[str, EngineChoice],
    engine: str,
    report: Report,
    *,
    rebuild: bool = False,
) -> list[Built]:
    """Build the images that have changed, or all with `rebuild`; return all of them.

    Raises:
        ClusterError: one can't be built.
    """
    STATE_DIR.mkdir(parents=True, exist_ok=True)
    facts = [engine, *engines[engine].facts()]
    wanted = {image.name: fingerprint_of(image, *facts) for image in images}

    def known(image: Image) -> Built | None:
        return None if rebuild else recall(image, wanted[image.name])

    found = {image.name: known(image) for image in images}
    for one in filter(None, found.values()):
        report(f"{one}, unchanged")
    changed = [image for image in images if found[image.name] is None]
    if changed:
        with engines[engine].opened(report) as opened:
            builder = Builder(opened)
            for image in changed:
                # Another process may have built the same image during the wait for the engine.
                one = known(image) or builder.build(image, wanted[image.name])
                found[image.name] = one
                report(f"{one}, built" + (f" in {one.took_s:.1f} s" if one.took_s else ""))
    return [one for one in found.values() if one is not None]


class Builder:
    """Builds images with one engine, and writes their archives."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._base_arguments: Mapping[str, str] | None = None

    def build(self, image: Image, wanted: str) -> Built:
        """Build one image, even if it exists.

        Raises:
            ClusterError: it can't be built.
        """
        log = STATE_DIR / f"{image.name}.log"
        log.write_text("")
        arguments = {**self._base(), "VERSION": image.tag, "REVISION": _revision()}
        if image.is_kafka:
            arguments.pop("BUILDER", None)
        started_s = time.monotonic()
        with TemporaryDirectory(prefix="context-", dir=STATE_DIR) as folder:
            context = REPOSITORY
            if image.is_kafka:
                context = Path(folder) / "kafka"
                write_context(context)
            with build_secrets(os.environ) as secrets:
                self._engine.build(
                    image.reference,
                    dockerfile=REPOSITORY / image.dockerfile,
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

    def _base(self) -> Mapping[str, str]:
        if self._base_arguments is None:
            log = STATE_DIR / "base.log"
            log.write_text("")
            self._base_arguments = self._engine.base_arguments(log)
        return self._base_arguments


def _note_of(name: str) -> Path:
    return STATE_DIR / f"{name}.json"


def _revision() -> str:
    try:
        return output_of("git", "-C", REPOSITORY, "rev-parse", "HEAD")
    except ClusterError:  # an unpacked archive of the sources
        return "unknown"
