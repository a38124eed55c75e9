"""Runs an image's program as a pod does: its own user, a read-only root, only /tmp to write to.

Namespaces and a chroot, no container engine; so no limits, and this machine's network.
"""

import os
import shlex
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from support.image_archive import ImageArchive

GIVEN = "/tmp/given"  # noqa: S108 - the image's, not this machine's
_STOP_TIMEOUT_S = 60
# Mounts belong to the namespace and are gone with it.
_ENTER = """
set -eu
root=$1; user=$2; shift 2
mount --bind "$root" "$root"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
for given in "$GIVEN"/*; do
  [ -e "$given" ] || continue
  mkdir -p "$root/tmp/given"; cp "$given" "$root/tmp/given/"; chmod 0444 "$root/tmp/given/"*
done
mount -o remount,bind,ro "$root"
exec chroot --userspec="$user" --groups= "$root" env -i "$@"
"""


@dataclass(frozen=True)
class Sandbox:
    """One image, unpacked."""

    archive: ImageArchive
    root: Path
    given: Path = field(default_factory=lambda: Path("/nonexistent"))
    """A folder with files to mount at /tmp/given."""

    def run(
        self, *arguments: str, env: Mapping[str, str] | None = None, timeout_s: float = 60
    ) -> "subprocess.CompletedProcess[str]":
        """Run the entrypoint with these arguments; return what it wrote and its exit code."""
        return self._run([*self._entrypoint(), *arguments], env, timeout_s)

    def run_program(
        self, *command: str, env: Mapping[str, str] | None = None, timeout_s: float = 60
    ) -> "subprocess.CompletedProcess[str]":
        """Run another program of the image."""
        return self._run(command, env, timeout_s)

    @contextmanager
    def running(
        self, *command: str, log: Path, env: Mapping[str, str] | None = None
    ) -> Iterator["subprocess.Popen[bytes]"]:
        """Run the command, or the entrypoint; SIGTERM ends it and its exit code is kept."""
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - the test names it
                self._command(command or self._entrypoint(), env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._environment(),
            )
        try:
            yield process
        finally:
            # unshare itself ignores it and ends with its child, the program.
            for child in _children(process.pid):
                os.kill(child, signal.SIGTERM)
            process.wait(_STOP_TIMEOUT_S)

    def _run(
        self, command: Sequence[str], env: Mapping[str, str] | None, timeout_s: float
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(  # noqa: S603 - the same
            self._command(command, env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
            env=self._environment(),
        )

    def _entrypoint(self) -> list[str]:
        return list(self.archive.config.get("Entrypoint") or [])

    def _command(self, command: Sequence[str], env: Mapping[str, str] | None) -> list[str]:
        variables = [*self.archive.config["Env"], *(f"{k}={v}" for k, v in (env or {}).items())]
        unshare = ["unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child"]
        inside = ["sh", "-c", _ENTER, "sh", str(self.root), self.archive.config["User"]]
        return [*unshare, "--propagation", "private", *inside, *variables, *command]

    def _environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "GIVEN": str(self.given)}


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii")
    return [int(word) for word in shlex.split(text)]
