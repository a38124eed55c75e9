"""Runs a command that dies with the process that started it.

    python -I -S tether.py PARENT_PID COMMAND [ARGUMENT…]

On Linux the kernel is asked to send SIGKILL to this process when its parent ends
(PR_SET_PDEATHSIG, kept across execve), then the command takes this process's place and pid.
Elsewhere the command is simply run. A separate program, because code between fork and exec is
not safe in a process with threads.
"""

import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent_pid: int, command: list[str]) -> None:
    """Tie this process to `parent_pid`, then become `command`. Does not return."""
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415 - only there, and only on Linux

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent_pid:
            sys.exit(1)  # the parent ended before the request was in force
    os.execv(command[0], command)  # noqa: S606 - the caller names the program


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
