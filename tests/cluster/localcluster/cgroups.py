"""The node's own subtree of control groups: made by `up`, removed by `down`.

Version 1 has a tree for each controller, and the node gets a folder in each. Version 2 has one
tree: the node gets a folder there and sees it as the root, in a cgroup namespace of its own. The
rules for version 2 are those of the kernel's cgroup-v2 document ("Delegation", "No Internal
Process Constraint"); this path has only been written by them, not run.
"""

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

from mailtopic_cli.cluster.errors import ClusterError

_MOUNT = Path("/sys/fs/cgroup")
_NEEDED_V1 = ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "pids")
_NEEDED_V2 = ("cpu", "cpuset", "memory", "pids")
_REMOVAL_TIMEOUT_S = 30


@dataclass(frozen=True)
class CgroupTree:
    """The subtree of one cluster.

    Attributes:
        name: the folder's name in each hierarchy.
        mount: where the hierarchies are mounted.
    """

    name: str
    mount: Path = _MOUNT

    @property
    def is_v2(self) -> bool:
        return (self.mount / "cgroup.controllers").exists()

    @property
    def kubelet_root(self) -> str:
        """What the kubelet has to take for the root of all pods."""
        return "/" if self.is_v2 else f"/{self.name}"

    def problems(self) -> list[str]:
        """Return what is missing, a line each."""
        if self.is_v2:
            present = (self.mount / "cgroup.controllers").read_text().split()
        else:
            present = [path.name for path in self.mount.iterdir()] if self.mount.exists() else []
        needed = _NEEDED_V2 if self.is_v2 else _NEEDED_V1
        absent = [name for name in needed if name not in present]
        return [f"the cgroup controllers {', '.join(absent)}"] if absent else []

    def create(self) -> None:
        """Make the subtree; what is there already stays.

        Raises:
            ClusterError: the controllers can't be handed on to the subtree.
        """
        if self.is_v2:
            self._hand_on_controllers()
        for folder in self._hierarchies():
            own = folder / self.name
            own.mkdir(exist_ok=True)
            # A new cpuset has no processors and no memory until it is given some.
            for knob in ("cpuset.cpus", "cpuset.mems"):
                if not self.is_v2 and (folder / knob).exists():
                    (own / knob).write_text((folder / knob).read_text())

    def entering(self) -> list[str]:
        """Return what to put before a command, so that it runs in the subtree.

        Only version 2 asks for it: there the command's cgroup namespace begins where it stands.
        """
        if not self.is_v2:
            return []
        members = self.mount / self.name / "cgroup.procs"
        return ["sh", "-c", 'echo $$ >"$0" && exec "$@"', str(members)]

    def remove(self) -> None:
        """Remove the subtree once its processes have ended; nothing there is fine.

        Raises:
            ClusterError: something still lives in it.
        """
        deadline_s = time.monotonic() + _REMOVAL_TIMEOUT_S
        for folder in self._hierarchies():
            own = folder / self.name
            while own.exists():
                _remove_empty(own)
                if own.exists() and time.monotonic() > deadline_s:
                    raise ClusterError(f"{own} can't be removed: processes still live in it")

    def _hierarchies(self) -> list[Path]:
        if self.is_v2:
            return [self.mount]
        # runc also makes folders in a version 2 tree that is mounted beside: "unified".
        return [
            path
            for path in sorted(self.mount.iterdir())
            if path.is_dir() and not path.is_symlink() and (path / "cgroup.procs").exists()
        ]

    def _hand_on_controllers(self) -> None:
        for controller in _NEEDED_V2:
            try:
                (self.mount / "cgroup.subtree_control").write_text(f"+{controller}")
            except OSError as error:
                raise ClusterError(
                    f"the cgroup controller {controller} can't be handed on below {self.mount} "
                    f"({error.strerror}): run this where that tree is delegated to you"
                ) from error


def become_root_of_cgroup_namespace(mount: Path = _MOUNT) -> None:
    """Inside the node, version 2 only: leave the root to the kubelet, as the kernel demands."""
    inner = mount / "node"
    inner.mkdir()
    (inner / "cgroup.procs").write_text(str(os.getpid()))
    for controller in _NEEDED_V2:
        (mount / "cgroup.subtree_control").write_text(f"+{controller}")


def _remove_empty(top: Path) -> None:
    for folder, _, _ in os.walk(top, topdown=False):
        # Busy while the last process ends: the caller comes again, up to its deadline.
        with contextlib.suppress(OSError):
            Path(folder).rmdir()
    time.sleep(0.02)
