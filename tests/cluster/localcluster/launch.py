"""Start the one-node cluster and wait until it serves."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from mailtopic_cli.cluster.errors import ClusterError
from mailtopic_cli.cluster.given import write_kubeconfig

from . import processes
from .api import Api, ApiError
from .cgroups import CgroupTree
from .config_files import write_config_files
from .kubeconfigs import kubeconfig
from .node_settings import NODE_NAME, PACKAGE_HOME, NodeSettings
from .pki import write_pki
from .toolchain import MODULES, Toolchain

_POLL_S = 0.1
_TIMEOUT_S = 180
_LOG_TAIL_LINES = 15
_NAMESPACES = ("--mount", "--net", "--pid", "--ipc", "--uts")


class NodeEndedError(ClusterError):
    """The node, or a part of it, ended by itself; the text names the part and quotes its log."""


class Launch:
    """One start of a node.

    Args:
        settings: where.
        toolchain: the built programs.
    """

    def __init__(self, settings: NodeSettings, toolchain: Toolchain) -> None:
        self._settings = settings
        self._toolchain = toolchain
        self._cgroups = CgroupTree(settings.name)
        self._child: subprocess.Popen[bytes] | None = None

    def prepare(self) -> None:
        """Write everything that the node reads when it starts."""
        settings = self._settings
        for folder in (settings.node, settings.node_bin, settings.logs):
            folder.mkdir(parents=True)
        # Keys lie below, and whatever containers write.
        settings.node.chmod(0o700)
        for programs in MODULES.values():
            for program in programs:
                link = settings.node_bin / program.name
                link.symlink_to(self._toolchain.program(program.name))
        write_pki(settings.pki)
        write_config_files(settings, self._cgroups)
        self._cgroups.create()

    def start(self) -> None:
        """Start the node on a free port of the loopback interface; write the kubeconfig."""
        settings = self._settings
        with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
            port = listener.getsockname()[1]
            content = kubeconfig(
                pki=settings.pki, identity="admin", server=f"https://127.0.0.1:{port}"
            )
            write_kubeconfig(settings.kubeconfig, content)
            self._child = self._spawn(listener)

    def _spawn(self, listener: socket.socket) -> "subprocess.Popen[bytes]":
        command = [
            *self._cgroups.entering(),
            "unshare",
            *_NAMESPACES,
            *(["--cgroup"] if self._cgroups.is_v2 else []),
            "--fork",
            "--kill-child",
            "--mount-proc",
            "--propagation=private",
            *(sys.executable, "-P", "-m", "localcluster.node"),
            *(str(self._settings.state), str(listener.fileno())),
        ]
        with (self._settings.logs / "node.log").open("wb") as log:
            return subprocess.Popen(  # noqa: S603 - the programs are fixed
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=_node_environment(),
                pass_fds=(listener.fileno(),),
                start_new_session=True,
            )

    def wait_for(self, what: str, condition: Callable[[], object]) -> None:
        """Return when the condition holds.

        Raises:
            NodeEndedError: the node ended meanwhile.
            ClusterError: it doesn't hold within three minutes.
        """
        deadline_s = time.monotonic() + _TIMEOUT_S
        while True:
            try:
                if condition():
                    return
                seen = ""
            except (ApiError, OSError) as error:  # not up yet
                seen = f" (last: {error})"
            self.raise_if_ended()
            if time.monotonic() > deadline_s:
                raise ClusterError(f"{what}: not within {_TIMEOUT_S} s{seen}{self._tails()}")
            time.sleep(_POLL_S)

    def raise_if_ended(self) -> None:
        """Raise NodeEndedError if the node has ended, which it never does by design."""
        if self._child is None or self._child.poll() is None:
            return
        raise NodeEndedError(describe_end(self._settings))

    def _tails(self) -> str:
        return "".join(_tail(self._settings.logs / f"{name}.log") for name in ("kubelet", "node"))


def describe_end(settings: NodeSettings) -> str:
    """Say which part of the node ended, with the last lines of its log."""
    if settings.failure_file.exists():
        failure = json.loads(settings.failure_file.read_text())
        name, what = failure["component"], failure["what"]
        return f"{name} {what}{_tail(settings.logs / f'{name}.log')}"
    return f"the node ended{_tail(settings.logs / 'node.log')}"


def _tail(log: Path) -> str:
    if not log.exists():
        return ""
    lines = log.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:]
    return "".join(f"\n  {log.stem} | {line[:500]}" for line in lines)


def is_node_ready(api: Api) -> bool:
    """Whether the node reports itself ready."""
    node = api.request("GET", f"/api/v1/nodes/{NODE_NAME}")
    return any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for condition in node["status"]["conditions"]
    )


def is_available(api: Api, deployment: str) -> bool:
    """Whether a deployment of the namespace kube-system has its replicas."""
    path = f"/apis/apps/v1/namespaces/kube-system/deployments/{deployment}"
    status = api.request("GET", path)["status"]
    return bool(status.get("availableReplicas"))


def clean(settings: NodeSettings) -> bool:
    """Take the node down, or what a crash left of it; tell whether there was anything.

    The kernel frees mounts, interfaces and packet filter rules with the namespaces; what is left to
    do is the control groups and the files.

    Raises:
        ClusterError: something can't be removed.
    """
    was_running = processes.end_node(settings.state)
    CgroupTree(settings.name).remove()
    if not settings.node.exists():
        return was_running
    shutil.rmtree(settings.last_logs, ignore_errors=True)
    if settings.logs.exists():
        settings.logs.rename(settings.last_logs)
    shutil.rmtree(settings.node)
    settings.kubeconfig.unlink(missing_ok=True)
    return True


def _node_environment() -> dict[str, str]:
    """Only what the node needs: a variable like KUBECONFIG would reach every part of it."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": "/root",
        "PYTHONPATH": str(PACKAGE_HOME),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }
