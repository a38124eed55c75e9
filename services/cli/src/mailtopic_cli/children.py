"""Child processes that cannot outlive their parent."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_TETHER = Path(__file__).with_name("tether.py")
_POLL_S = 0.05


class Child:
    """A running command, in a session of its own, with its output appended to a file.

    Ctrl-C at a terminal reaches only the parent, which then stops its children in its own order.
    On Linux the child is killed when the *thread* that made it ends (that is how the kernel
    counts parents), so make it in the main thread. Not tied to an event loop: it may be made
    under one and awaited under another.

    Args:
        command: an absolute program path and its arguments.
        log_file: where standard output and standard error go.
        env: the whole environment.
        cwd: the working directory.
    """

    def __init__(
        self, command: Sequence[str], *, log_file: Path, env: Mapping[str, str], cwd: Path
    ) -> None:
        tied = [sys.executable, "-I", "-S", str(_TETHER), str(os.getpid()), *command]
        with log_file.open("ab") as log:
            self._process = subprocess.Popen(
                tied,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(env),
                cwd=cwd,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process id, also after the end."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._process.poll()

    async def wait(self) -> int:
        """Wait for the end; return the exit code."""
        while (code := self._process.poll()) is None:  # noqa: ASYNC110 - poll is the only way
            await asyncio.sleep(_POLL_S)
        return code

    async def end(self, *, grace_s: float) -> int:
        """Send SIGTERM, after `grace_s` SIGKILL; return the exit code."""
        self._process.send_signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(self.wait(), grace_s)
        return await self.kill()

    async def kill(self) -> int:
        """Send SIGKILL; return the exit code."""
        self._process.kill()
        return await self.wait()


def resident_mb(pid: int) -> float | None:
    """Resident memory of a process in MB (10^6 bytes); None without /proc."""
    try:
        status = Path(f"/proc/{pid}/status").read_text("ascii", errors="replace")
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    return None
