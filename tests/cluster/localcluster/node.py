"""The node's first process: PID 1 of its own pid, mount, network, IPC and UTS namespaces.

    python -m localcluster.node STATE_FOLDER LISTENER_FD      (started by `up` through unshare)

It arranges the namespaces, starts the parts, and ends when any of them ends. With it the kernel
ends every process of the node and takes back its mounts, interfaces and packet filter rules:
nothing has to be undone, whichever process is killed.
"""

import http.client
import json
import os
import shlex
import ssl
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from mailtopic_cli.cluster.programs import output_of

from . import cgroups
from .components import Component, before_the_api, behind_the_api
from .node_settings import (
    API_PORT,
    CNI_PLUGINS,
    KUBELET_ROOT,
    NODE_IP,
    NODE_NAME,
    NODE_NETWORK_BITS,
    PACKAGE_HOME,
    NodeSettings,
)

_POLL_S = 0.05
_API_TIMEOUT_S = 120
_CNI_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"), Path("/usr/libexec/cni"))
# The kubelet sets these and ends if it can't. They belong to the machine, so it gets files of the
# node's own in their places.
_MACHINE_SYSCTLS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
_NODE_SYSCTLS = {
    "net/ipv4/ip_forward": "1",
    "net/ipv4/conf/all/route_localnet": "1",
    # Pods on the bridge then pass the hooks in which services and policies work.
    "net/bridge/bridge-nf-call-iptables": "1",
    "net/bridge/bridge-nf-call-ip6tables": "1",
}


def cni_plugin_folder() -> Path | None:
    """Where the machine keeps the CNI plugins."""
    return next((folder for folder in _CNI_FOLDERS if (folder / "bridge").exists()), None)


class Node:
    """The running parts of the node."""

    def __init__(self, settings: NodeSettings) -> None:
        self._settings = settings
        # Kept, because the end of a process whose Popen is gone may be taken note of by the next
        # Popen, and by nobody else.
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._names: dict[int, str] = {}

    def start(self, components: Iterable[Component], *, inherited_fd: int | None = None) -> None:
        """Start programs, each with a log of its own; only the forwarder gets the socket."""
        for component in components:
            descriptors = (inherited_fd,) if inherited_fd and component.name == "forwarder" else ()
            with (self._settings.logs / f"{component.name}.log").open("wb") as log:
                process = subprocess.Popen(  # noqa: S603 - the programs are fixed
                    component.command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=descriptors,
                    start_new_session=True,
                )
            self._processes[process.pid] = process
            self._names[process.pid] = component.name

    def wait_until_api_is_ready(self) -> None:
        """Return when the API server says so; end the node if that takes too long."""
        context = ssl.create_default_context(cafile=str(self._settings.pki / "ca.crt"))
        deadline_s = time.monotonic() + _API_TIMEOUT_S
        while not _is_ready(context):
            self.reap(block=False)
            if time.monotonic() > deadline_s:
                self._end("kube-apiserver", f"was not ready within {_API_TIMEOUT_S} s")
            time.sleep(_POLL_S)

    def reap(self, *, block: bool) -> None:
        """Collect what ended; end the node if that was one of its parts.

        Most of what ends here are orphans of containers, which PID 1 inherits.
        """
        while True:
            pid, status = os.waitpid(-1, 0 if block else os.WNOHANG)
            if pid == 0:
                return
            if pid in self._names:
                code = os.waitstatus_to_exitcode(status)
                self._end(self._names[pid], f"ended with {code}")

    def _end(self, component: str, what: str) -> NoReturn:
        failure = json.dumps({"component": component, "what": what})
        self._settings.failure_file.write_text(failure)
        sys.exit(1)


def _is_ready(context: ssl.SSLContext) -> bool:
    connection = http.client.HTTPSConnection(NODE_IP, API_PORT, timeout=2, context=context)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):  # not listening yet, or closing
        return False
    finally:
        connection.close()


def arrange_mounts(settings: NodeSettings) -> None:
    """Give the node folders of its own where programs insist on fixed ones.

    /run is new, /var/lib shows the machine's and keeps what is written, /var/log is the cluster's.
    """
    # A folder that is about to be covered stays reachable through its descriptor.
    state_fd = os.open(settings.state, os.O_PATH)
    # The kubelet's mounts of secrets and volumes must reach containerd's containers.
    output_of("mount", "--make-rshared", "/")
    output_of("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    inner = Path("/run/mailtopic")
    for folder in (inner, Path("/run/lock"), Path("/run/containerd")):
        folder.mkdir()
    overlay = settings.node / "var-lib"
    for part in ("upper", "work"):
        (overlay / part).mkdir(parents=True)
    options = f"lowerdir=/var/lib,upperdir={overlay}/upper,workdir={overlay}/work"
    output_of("mount", "-t", "overlay", "-o", options, "overlay", "/var/lib")
    if settings.state.is_relative_to("/var/lib"):
        settings.state.mkdir(parents=True, exist_ok=True)
        output_of("mount", "--bind", f"/proc/1/fd/{state_fd}", str(settings.state))
    os.close(state_fd)
    _bind(settings.node / "kubelet", KUBELET_ROOT)
    output_of("mount", "--make-rshared", str(KUBELET_ROOT))
    _bind(settings.node / "log", Path("/var/log"))
    for number, (knob, value) in enumerate(_MACHINE_SYSCTLS.items()):
        stand_in = inner / f"sysctl-{number}"
        stand_in.write_text(f"{value}\n")
        output_of("mount", "--bind", str(stand_in), f"/proc/sys/{knob}")


def arrange_cni_plugins() -> None:
    """Gather the machine's CNI plugins and our gate in the folder that containerd looks into."""
    machine = cni_plugin_folder()
    assert machine is not None, "checked before the node was started"
    CNI_PLUGINS.mkdir()
    for name in ("bridge", "host-local", "loopback", "portmap"):
        (CNI_PLUGINS / name).symlink_to(machine / name)
    gate = CNI_PLUGINS / "mailtopic-gate"
    # Through a shell: a line that names the interpreter may be neither long nor contain blanks.
    plugin = [sys.executable, "-I", "-S", str(Path(__file__).with_name("gate_plugin.py"))]
    gate.write_text(f"#!/bin/sh\nexec {shlex.join(plugin)}\n")
    gate.chmod(0o755)


def arrange_network() -> None:
    """Make the node's interface: both ends of a pair inside, with the default route through it.

    The route leads nowhere, and is needed: without one the kernel won't even send what kube-proxy
    would redirect to a pod.
    """
    output_of("ip", "link", "set", "lo", "up")
    output_of("ip", "link", "add", "node0", "type", "veth", "peer", "name", "node1")
    output_of("ip", "address", "add", f"{NODE_IP}/{NODE_NETWORK_BITS}", "dev", "node0")
    for interface in ("node0", "node1"):
        output_of("ip", "link", "set", interface, "up")
    output_of("ip", "route", "add", "default", "dev", "node0")
    for knob, value in _NODE_SYSCTLS.items():
        Path("/proc/sys", knob).write_text(value)


def _bind(source: Path, target: Path) -> None:
    source.mkdir(exist_ok=True)
    target.mkdir(exist_ok=True)
    output_of("mount", "--bind", str(source), str(target))


def main(state: str, listener_fd: int) -> NoReturn:
    """Be the node."""
    settings = NodeSettings(Path(state))
    os.environ["PYTHONPATH"] = str(PACKAGE_HOME)
    output_of("hostname", NODE_NAME)
    if cgroups.CgroupTree(settings.name).is_v2:
        output_of("mount", "-t", "cgroup2", "cgroup2", "/sys/fs/cgroup")
        cgroups.become_root_of_cgroup_namespace()
    arrange_mounts(settings)
    arrange_cni_plugins()
    arrange_network()
    node = Node(settings)
    node.start(before_the_api(settings, listener_fd), inherited_fd=listener_fd)
    os.close(listener_fd)
    node.wait_until_api_is_ready()
    node.start(behind_the_api(settings))
    while True:
        node.reap(block=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
