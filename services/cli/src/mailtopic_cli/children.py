"""Child processes that cannot outlive their parent."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_TETHER = Path(__file__).with_name("tether.py")


async def spawn(
    command: Sequence[str], *, log_file: Path, env: Mapping[str, str], cwd: Path
) -> asyncio.subprocess.Process:
    """Start `command` (an absolute program path first) with its output appended to `log_file`.

    On Linux the child is killed when the calling *thread* ends (that is how the kernel counts
    parents), so call it from the main thread. The child is in a session of its own: Ctrl-C at a
    terminal reaches only the parent, which then stops its children in its own order.
    """
    tied = [sys.executable, "-I", "-S", str(_TETHER), str(os.getpid()), *command]
    with log_file.open("ab") as log:
        return await asyncio.create_subprocess_exec(
            *tied,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,
        )


async def end(process: asyncio.subprocess.Process, *, grace_s: float) -> int:
    """Send SIGTERM, after `grace_s` SIGKILL; return the exit code (negative: a signal)."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        return await asyncio.wait_for(process.wait(), grace_s)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        return await process.wait()


def resident_mb(pid: int) -> float | None:
    """Resident memory of a process in MB (10^6 bytes); None where /proc does not tell."""
    try:
        status = Path(f"/proc/{pid}/status").read_text("ascii", errors="replace")
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    return None
