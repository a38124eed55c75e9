"""What the one-node cluster needs of the machine, all of it told at once.

Nothing is installed here: the list names the Debian packages and the person decides.
"""

import os
import shutil
import sys
from pathlib import Path

from mailtopic_cli.cluster.programs import run

from .cgroups import CgroupTree
from .node import cni_plugin_folder

_PACKAGES = {
    "etcd": "etcd-server",
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "nft": "nftables",
    "ip": "iproute2",
    "mount": "mount",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "hostname": "hostname",
}
_CAP_SYS_ADMIN = 21
# Run in namespaces of its own, which take away with them what it makes.
_PROBES = {
    "a network bridge (kernel module bridge)": "ip link add name b type bridge",
    "pairs of virtual interfaces (kernel module veth)": "ip link add v type veth peer name w",
    "packet filtering on bridges (kernel module br_netfilter: modprobe br_netfilter)": (
        "test -e /proc/sys/net/bridge/bridge-nf-call-iptables"
    ),
    "iptables with nat, statistic and comment": (
        "iptables -t nat -A OUTPUT -p tcp -m comment --comment x -m statistic --mode random"
        " --probability 0.5 -j DNAT --to-destination 127.0.0.1:1"
    ),
    "nftables with sets, maps and connection tracking": (
        "nft 'add table inet t; add chain inet t c; add chain inet t f { type filter hook forward"
        " priority 0; }; add rule inet t f ct state established accept;"
        " add rule inet t f ip saddr vmap { 10.0.0.1 : jump c }'"
    ),
    "a mount of overlayfs on a temporary file system": (
        "mount -t tmpfs t /mnt && mkdir /mnt/u /mnt/w"
        " && mount -t overlay -o lowerdir=/usr/lib,upperdir=/mnt/u,workdir=/mnt/w o /mnt"
    ),
}
_ADMINISTRATORS_PATH = "/usr/local/sbin:/usr/sbin:/sbin"
_UNSHARE = ("unshare", "--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--mount-proc")


def extend_path() -> None:
    """Look for programs also where they lie for administrators only."""
    os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}:{_ADMINISTRATORS_PATH}"


def problems(cgroups: CgroupTree) -> list[str]:
    """Return what is missing on this machine, a line each; empty when a node can run."""
    if sys.platform != "linux":
        return ["Linux: namespaces and control groups are what the node is made of"]
    found = _missing_programs()
    found += [f"control groups: {problem} missing" for problem in cgroups.problems()]
    if os.geteuid() != 0 or not _has_capability(_CAP_SYS_ADMIN):
        found.append("root with CAP_SYS_ADMIN: namespaces, mounts and control groups are made")
    if not found:
        found += _missing_kernel_features()
    return found


def _missing_programs() -> list[str]:
    absent = {
        program: package for program, package in _PACKAGES.items() if not shutil.which(program)
    }
    lines = [f"the program {program}" for program in absent]
    packages = set(absent.values())
    if cni_plugin_folder() is None:
        lines.append("the CNI plugins bridge, host-local, loopback and portmap")
        packages.add("containernetworking-plugins")
    if packages:
        listed = " ".join(sorted(packages))
        lines.append(f"on Debian: apt-get install --no-install-recommends {listed}")
    return lines


def _has_capability(number: int) -> bool:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> number & 1)
    return False


def _missing_kernel_features() -> list[str]:
    script = "\n".join(
        f"( {command} ) >/dev/null 2>&1 || echo '{what}'" for what, command in _PROBES.items()
    )
    finished = run(*_UNSHARE, "sh", "-c", script)
    if finished.returncode:
        return [f"namespaces of its own for a process: {finished.stderr.strip()}"]
    return [f"kernel: {line}" for line in finished.stdout.splitlines()]
