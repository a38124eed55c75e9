"""Debian's buildah, which builds the same Dockerfiles without a daemon and without a registry.

It begins with a base image made of Debian's packages.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from mailtopic_cli.cluster.images.engines import EngineChoice, build_options
from mailtopic_cli.cluster.programs import Report, output_of, run_logged, succeeds
from mailtopic_cli.kafka_distribution import cache_dir

from .base_image import base_facts, ensure_base

# Every change leaves a few layers; with this many, what no image needs any more is dropped.
_MAX_LAYERS = 120


class Buildah:
    """buildah with a storage of its own; root, no daemon, no namespaces, no registry.

    Args:
        storage: where layers are kept between runs.
        scratch: where this run keeps what is worth nothing afterwards.
        report: gets a line for a base image that was made.
    """

    def __init__(self, storage: Path, scratch: Path, report: Report) -> None:
        self._debs = storage / "debs"
        self._report = report
        storage.mkdir(parents=True, exist_ok=True)
        (storage / "tmp").mkdir(exist_ok=True)
        self._env = {
            **os.environ,
            "BUILDAH_ISOLATION": "chroot",
            # Where caches of RUN instructions and half-written archives lie.
            "TMPDIR": str(storage / "tmp"),
        }
        self._global = ["--root", str(storage / "layers"), "--runroot", str(scratch)]
        overlay = ["--storage-driver", "overlay", "--storage-opt", "overlay.skip_mount_home=true"]
        if succeeds("buildah", *self._global, *overlay, "info", env=self._env):
            self._global += overlay
        else:  # a kernel without overlayfs, or a disk that can't carry one
            self._global[1] = str(storage / "layers-vfs")
            self._global += ["--storage-driver", "vfs"]

    def tidy(self) -> None:
        """Remove what a killed run has left: its containers and their mounts."""
        mounts = Path("/proc/self/mountinfo").read_text("utf-8").splitlines()
        for place in reversed([line.split()[4] for line in mounts]):
            if place.startswith(f"{self._global[1]}/"):
                output_of("umount", "--lazy", place)
        self.output("rm", "--all")
        driver = self._global[self._global.index("--storage-driver") + 1]
        layers = Path(self._global[1]) / ("vfs/dir" if driver == "vfs" else driver)
        if layers.is_dir() and len(list(layers.iterdir())) > _MAX_LAYERS:
            self.output("rmi", "--prune")

    def base_arguments(self, log: Path) -> Mapping[str, str]:
        """Make the base images unless they are there."""
        base, builder = ensure_base(self, self._debs, log)
        self._report(f"base: {base}, {self.size_bytes(base) / 1e6:.0f} MB")
        return {"BASE": base, "BUILDER": builder}

    def command(self, *arguments: str | Path) -> list[str | Path]:
        """A buildah command line on this storage."""
        return ["buildah", arguments[0], *self._global, *arguments[1:]]

    def output(self, *arguments: str | Path) -> str:
        """Run a buildah command; return what it prints."""
        return output_of(*self.command(*arguments), env=self._env)

    def run(self, log: Path, *arguments: str | Path) -> None:
        """Run a buildah command; what it prints goes to `log`."""
        run_logged(*self.command(*arguments), log=log, env=self._env)

    def has(self, reference: str) -> bool:
        """Whether an image of this name is in the storage."""
        return succeeds(*self.command("inspect", "--type", "image", reference), env=self._env)

    def build(
        self,
        reference: str,
        *,
        dockerfile: Path,
        context: Path,
        arguments: Mapping[str, str],
        secrets: Mapping[str, Path],
        log: Path,
    ) -> None:
        """Build one image and name it `reference`. Layers that didn't change are reused."""
        options: list[str | Path] = ["--layers", "--force-rm", "--pull-never", "--network", "host"]
        options += ["--file", dockerfile, "--tag", reference, *build_options(arguments, secrets)]
        self.run(log, "build", *options, context)

    def size_bytes(self, reference: str) -> int:
        """The size of the image's files, unpacked."""
        listed = json.loads(self.output("images", "--json", reference))
        return _bytes_of(listed[0]["size"])

    def save(self, reference: str, archive: Path, log: Path) -> None:
        """Write the image to a tar in Docker's format, its layers not compressed."""
        archive.unlink(missing_ok=True)
        self.run(log, "push", reference, f"docker-archive:{archive}:{reference}")

    def remove(self, reference: str) -> None:
        """Take the name away, and the image if it has no other."""
        self.output("rmi", reference)


def _bytes_of(text: str) -> int:
    """buildah's `98.1 MB` as a number."""
    number, unit = text.split()
    return round(float(number) * {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}[unit.upper()])


def _buildah_problem() -> str | None:
    if os.geteuid() != 0:
        return "needs root here: sudo make images"
    missing = [tool for tool in ("dpkg-deb", "apt-get", "tar") if shutil.which(tool) is None]
    if missing:
        return f"its base image is made of Debian's packages, but {missing[0]} isn't there"
    if shutil.which("buildah") is None:
        return "isn't installed; on Debian 12: apt-get install -y --no-install-recommends buildah"
    return None


@contextmanager
def _opened(report: Report) -> Iterator[Buildah]:
    """Yield buildah; one process at a time has its storage."""
    storage = cache_dir() / "images"
    storage.mkdir(parents=True, exist_ok=True)
    with (storage / "lock").open("w") as lock, TemporaryDirectory(prefix="mailtopic-run-") as run:
        fcntl.flock(lock, fcntl.LOCK_EX)
        engine = Buildah(storage, Path(run), report)
        engine.tidy()
        yield engine


BUILDAH: Final = EngineChoice(_buildah_problem, _opened, lambda: [base_facts()])
