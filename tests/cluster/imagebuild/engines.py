"""What builds an image: Docker, Podman, or Debian's buildah, which needs no daemon.

All of them build the very same Dockerfiles. Docker and Podman begin with the official Python
image; buildah begins with one made of Debian's packages, because it is for machines that can't
ask a registry.
"""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from imagebuild.commands import BuildError, output_of, run_logged, succeeds

BUILDAH_PACKAGES = "buildah"
_FIRST_WITH_BUILDX = 23
# Every change leaves a few layers; with this many, what no image needs any more is dropped.
_MAX_LAYERS = 120


class Engine(Protocol):
    """Builds and exports images. Nothing about caching is promised beyond the engine's own."""

    @property
    def name(self) -> str:
        """`docker`, `podman` or `buildah`."""

    @property
    def makes_its_base(self) -> bool:
        """Whether the base image is made here, of Debian's packages."""

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
        """Build one image and name it `reference`."""

    def size_bytes(self, reference: str) -> int:
        """The size of the image's files, unpacked, the base's among them."""

    def save(self, reference: str, archive: Path, log: Path) -> None:
        """Write the image to a tar that container engines and containerd load."""

    def remove(self, reference: str) -> None:
        """Take the name away, and the image if it has no other."""


class DockerLike:
    """Docker or Podman, whose command lines agree in what is needed here."""

    makes_its_base = False

    def __init__(self, name: str) -> None:
        self.name = name

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
        """Build one image and name it `reference`."""
        command: list[str | Path] = [self.name, "build", "--file", dockerfile, "--tag", reference]
        command += _options(arguments, secrets)
        run_logged([*command, context], log, env={**os.environ, "DOCKER_BUILDKIT": "1"})

    def size_bytes(self, reference: str) -> int:
        """The size of the image's files, unpacked."""
        return int(output_of([self.name, "image", "inspect", "-f", "{{.Size}}", reference]))

    def save(self, reference: str, archive: Path, log: Path) -> None:
        """Write the image to a tar in Docker's format."""
        run_logged([self.name, "save", "--output", archive, reference], log)

    def remove(self, reference: str) -> None:
        """Take the name away, and the image if it has no other."""
        output_of([self.name, "rmi", reference])


class Buildah:
    """Debian's buildah with a storage of its own; root, no daemon, no namespaces, no registry.

    Args:
        storage: where layers are kept between runs.
        scratch: where this run keeps what is worth nothing afterwards.
    """

    name = "buildah"
    makes_its_base = True

    def __init__(self, storage: Path, scratch: Path) -> None:
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
        if succeeds(["buildah", *self._global, *overlay, "info"], env=self._env):
            self._global += overlay
        else:  # a kernel without overlayfs, or a disk that can't carry one
            self._global[1] = str(storage / "layers-vfs")
            self._global += ["--storage-driver", "vfs"]

    def tidy(self) -> None:
        """Remove what a killed run has left: its containers and their mounts."""
        mounts = Path("/proc/self/mountinfo").read_text("utf-8").splitlines()
        for place in reversed([line.split()[4] for line in mounts]):
            if place.startswith(f"{self._global[1]}/"):
                output_of(["umount", "--lazy", place])
        self.output("rm", "--all")
        driver = self._global[self._global.index("--storage-driver") + 1]
        layers = Path(self._global[1]) / ("vfs/dir" if driver == "vfs" else driver)
        if layers.is_dir() and len(list(layers.iterdir())) > _MAX_LAYERS:
            self.output("rmi", "--prune")

    def command(self, *arguments: str | Path) -> list[str | Path]:
        """A buildah command line on this storage."""
        return ["buildah", arguments[0], *self._global, *arguments[1:]]

    def output(self, *arguments: str | Path) -> str:
        """Run a buildah command; return what it prints."""
        return output_of(self.command(*arguments), env=self._env)

    def run(self, log: Path, *arguments: str | Path) -> None:
        """Run a buildah command; what it prints goes to `log`."""
        run_logged(self.command(*arguments), log, env=self._env)

    def has(self, reference: str) -> bool:
        """Whether an image of this name is in the storage."""
        return succeeds(self.command("inspect", "--type", "image", reference), env=self._env)

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
        options += ["--file", dockerfile, "--tag", reference, *_options(arguments, secrets)]
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


def _options(arguments: Mapping[str, str], secrets: Mapping[str, Path]) -> list[str | Path]:
    found: list[str | Path] = []
    for name, value in arguments.items():
        found += ["--build-arg", f"{name}={value}"]
    for identity, path in secrets.items():
        found += ["--secret", f"id={identity},src={path}"]
    return found


def _bytes_of(text: str) -> int:
    """buildah's `98.1 MB` as a number."""
    number, unit = text.split()
    return round(float(number) * {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}[unit.upper()])


def choose_engine_name(wanted: str | None = None) -> str:
    """Return the first of docker, podman and buildah that works here; only `wanted` if given.

    Raises:
        BuildError: none does; the text says for each what is missing.
    """
    problems = []
    for name, problem_of in _PROBLEMS.items():
        if wanted in {None, name}:
            problem = problem_of()
            if problem is None:
                return name
            problems.append(f"  {name}: {problem}")
    raise BuildError("\n".join(["no image can be built on this machine:", *problems]))


def _docker_problem() -> str | None:
    if shutil.which("docker") is None:
        return "isn't installed"
    if not succeeds(["docker", "info"]):
        return "its daemon doesn't answer (docker info)"
    # The Dockerfiles mount secrets and caches; older clients have BuildKit in them.
    major = output_of(["docker", "version", "--format", "{{.Client.Version}}"]).split(".")[0]
    needs_buildx = major.isdecimal() and int(major) >= _FIRST_WITH_BUILDX
    if needs_buildx and not succeeds(["docker", "buildx", "version"]):
        return "its buildx plugin is missing (package docker-buildx-plugin or docker-buildx)"
    return None


def _podman_problem() -> str | None:
    if shutil.which("podman") is None:
        return "isn't installed"
    return None if succeeds(["podman", "info"]) else "doesn't work (podman info)"


def _buildah_problem() -> str | None:
    if os.geteuid() != 0:
        return "needs root here: sudo make images"
    missing = [tool for tool in ("dpkg-deb", "apt-get", "tar") if shutil.which(tool) is None]
    if missing:
        return f"its base image is made of Debian's packages, but {missing[0]} isn't there"
    if shutil.which("buildah") is None:
        return (
            "isn't installed; on Debian 12: "
            f"apt-get install -y --no-install-recommends {BUILDAH_PACKAGES}"
        )
    return None


_PROBLEMS = {"docker": _docker_problem, "podman": _podman_problem, "buildah": _buildah_problem}
