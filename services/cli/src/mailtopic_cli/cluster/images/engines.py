"""Image builders: Docker or Podman, with the options that both command lines share."""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from mailtopic_cli.cluster.errors import ClusterError, PrerequisiteError
from mailtopic_cli.cluster.programs import Report, output_of, run_logged, succeeds

_FIRST_WITH_BUILDX = 23


class Engine(Protocol):
    """Builds and exports images. Nothing about caching is promised beyond the engine's own."""

    def base_arguments(self, log: Path) -> Mapping[str, str]:
        """Make the base images, if this engine makes its own; return arguments for builds."""

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
        """The size of the image's unpacked files, including the base's."""

    def save(self, reference: str, archive: Path, log: Path) -> None:
        """Write the image to a tar that container engines and containerd load."""

    def remove(self, reference: str) -> None:
        """Remove the name, and the image if it has no other."""


class DockerLike:
    """Docker or Podman.

    Args:
        name: of the program.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def base_arguments(self, log: Path) -> Mapping[str, str]:
        """Nothing: the Dockerfiles name the official images."""
        del log
        return {}

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
        options = ["--file", dockerfile, "--tag", reference, *build_options(arguments, secrets)]
        environment = {**os.environ, "DOCKER_BUILDKIT": "1"}
        run_logged(self.name, "build", *options, context, log=log, env=environment)

    def size_bytes(self, reference: str) -> int:
        """The size of the image's files, unpacked."""
        return int(output_of(self.name, "image", "inspect", "-f", "{{.Size}}", reference))

    def save(self, reference: str, archive: Path, log: Path) -> None:
        """Write the image to a tar in Docker's format."""
        run_logged(self.name, "save", "--output", archive, reference, log=log)

    def remove(self, reference: str) -> None:
        """Remove the name, and the image if it has no other."""
        output_of(self.name, "rmi", reference)


def build_options(arguments: Mapping[str, str], secrets: Mapping[str, Path]) -> list[str | Path]:
    """Return a build's arguments and secrets as options of the command line."""
    found: list[str | Path] = []
    for name, value in arguments.items():
        found += ["--build-arg", f"{name}={value}"]
    for identity, path in secrets.items():
        found += ["--secret", f"id={identity},src={path}"]
    return found


@dataclass(frozen=True)
class EngineChoice:
    """An engine that may be there.

    Attributes:
        problem: returns why it doesn't work on this machine, None if it does.
        opened: holds the engine for as long as it is used; gets a line for what takes long.
        facts: returns what its images depend on in addition to their sources.
    """

    problem: Callable[[], str | None]
    opened: Callable[[Report], AbstractContextManager[Engine]]
    facts: Callable[[], Sequence[str]] = tuple


def choose_engine(engines: Mapping[str, EngineChoice], wanted: str | None = None) -> str:
    """Return the first engine that works here; only `wanted` if given.

    Raises:
        ClusterError: there is none of that name.
        PrerequisiteError: none works; the text says for each what is missing.
    """
    if wanted not in {None, *engines}:
        raise ClusterError(f"--engine must be one of {', '.join(engines)}")
    problems = []
    for name in [wanted] if wanted else engines:
        problem = engines[name].problem()
        if problem is None:
            return name
        problems.append(f"{name} {problem}")
    raise PrerequisiteError(f"no image can be built on this machine: {'; '.join(problems)}")


def _docker_problem() -> str | None:
    if shutil.which("docker") is None:
        return "isn't installed"
    if not succeeds("docker", "info"):
        return "is installed, but its daemon doesn't answer: start it"
    # The Dockerfiles mount secrets and caches; older clients have BuildKit in them.
    major = output_of("docker", "version", "--format", "{{.Client.Version}}").split(".")[0]
    needs_buildx = major.isdecimal() and int(major) >= _FIRST_WITH_BUILDX
    if needs_buildx and not succeeds("docker", "buildx", "version"):
        return "lacks its buildx plugin (package docker-buildx-plugin or docker-buildx)"
    return None


def _podman_problem() -> str | None:
    if shutil.which("podman") is None:
        return "isn't installed"
    return None if succeeds("podman", "info") else "doesn't work (podman info)"


ENGINES: Final[Mapping[str, EngineChoice]] = {
    "docker": EngineChoice(_docker_problem, lambda _: nullcontext(DockerLike("docker"))),
    "podman": EngineChoice(_podman_problem, lambda _: nullcontext(DockerLike("podman"))),
}
