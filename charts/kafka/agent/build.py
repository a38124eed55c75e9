"""Build files/kafka-agent.jar: the same bytes from the same sources, with the same javac.

Run it where `make setup` has been: ``.venv/bin/python charts/kafka/agent/build.py``.
Kafka's client library, against which a part of it is compiled, is fetched if it isn't there.
"""
# ruff: noqa: INP001 - a script beside its sources

import argparse
import asyncio
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from mailtopic_cli.kafka_node import fetch_class_path

AGENT = Path(__file__).parent
JAR = AGENT.parent / "files" / "kafka-agent.jar"
RELEASE = "17"
"""Java's version for which it is compiled: the oldest that Kafka 4's brokers run on."""

_EPOCH = (2026, 1, 1, 0, 0, 0)


def javac_version() -> str | None:
    """Return javac's major version, or None where there is no javac."""
    if not shutil.which("javac"):
        return None
    done = subprocess.run(
        ["javac", "-version"],  # noqa: S607 - whichever the PATH names
        check=True,
        capture_output=True,
        text=True,
    )
    found = re.search(r"[0-9]+", done.stdout + done.stderr)
    return found[0] if found else None


def build(jar: Path, class_path: str) -> None:
    """Compile the sources and write the jar.

    Raises:
        subprocess.CalledProcessError: javac found an error, which it has printed.
    """
    with tempfile.TemporaryDirectory() as directory:
        classes = Path(directory)
        sources = sorted(str(path) for path in (AGENT / "src").rglob("*.java"))
        options = ["--release", RELEASE, "-g:source,lines", "-Xlint:all,-processing,-classfile"]
        subprocess.run(  # noqa: S603
            ["javac", *options, "-Werror", "-cp", class_path, "-d", directory, *sources],  # noqa: S607
            check=True,
        )
        _zip(classes, jar)


def _zip(classes: Path, jar: Path) -> None:
    """Entries in order, with fixed times; uncompressed, because the versions of zlib differ."""
    manifest = (
        "Manifest-Version: 1.0\n"
        "Premain-Class: dev.mailtopic.kafka.Agent\n"
        f"Build-Jdk-Spec: {javac_version()}\n"
    )
    jar.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(jar, "w", zipfile.ZIP_STORED) as archive:
        entries = {"META-INF/MANIFEST.MF": manifest.encode()}
        for path in sorted(classes.rglob("*.class")):
            entries[path.relative_to(classes).as_posix()] = path.read_bytes()
        for name, content in entries.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)


def main() -> int:
    """Build the jar in its place, or elsewhere."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--output", type=Path, default=JAR)
    arguments = parser.parse_args()
    if javac_version() is None:
        parser.exit(1, "there is no javac on the PATH; Debian has it in openjdk-17-jdk-headless\n")
    build(arguments.output, asyncio.run(fetch_class_path(print)))
    print(f"{arguments.output}: {arguments.output.stat().st_size} bytes")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
