"""Find the node's processes and end them, and never any other.

They are found by their command line, which holds the cluster's folder, and not by a noted pid: so
nothing is missed when `up` was killed before it could note anything, and no process that got an
old pid is ever touched. A pidfd then names the very process that was looked at.
"""

import contextlib
import os
import select
import signal
from pathlib import Path

from mailtopic_cli.cluster.errors import ClusterError

# On a busy machine the end of some hundred processes takes its time.
_END_TIMEOUT_S = 60
_NODE_MODULE = "localcluster.node"


def node_pids(state: Path) -> list[int]:
    """Return the pids of the node's first process and of the `unshare` that waits for it."""
    return [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and _is_of_node(int(entry.name), state)
    ]


def first_pid(state: Path) -> int | None:
    """Return the pid, as seen from outside, of the node's PID 1; None while there is none."""
    for pid in node_pids(state):
        # The last number is the pid in the innermost namespace.
        with contextlib.suppress(OSError):
            if _status_field(pid, "NSpid").split()[1:] == ["1"]:
                return pid
    return None


def end_node(state: Path) -> bool:
    """Kill the node and wait for its end; tell whether there was one.

    Raises:
        ClusterError: it doesn't end.
    """
    found = False
    while pids := node_pids(state):
        for pid in pids:
            found |= _kill(pid, state)
    return found


def _kill(pid: int, state: Path) -> bool:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        # Looked at again: from here on the descriptor can't mean another process.
        if not _is_of_node(pid, state):
            return False
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        if not select.select([descriptor], [], [], _END_TIMEOUT_S)[0]:
            raise ClusterError(f"process {pid} of the node does not end")
    finally:
        os.close(descriptor)
    return True


def _is_of_node(pid: int, state: Path) -> bool:
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        is_dead = _status_field(pid, "State").startswith("Z")
    except OSError:  # it ended meanwhile
        return False
    if is_dead or _NODE_MODULE not in arguments:
        return False
    return arguments[arguments.index(_NODE_MODULE) + 1 :][:1] == [str(state)]


def _status_field(pid: int, name: str) -> str:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return value.strip()
    return ""
