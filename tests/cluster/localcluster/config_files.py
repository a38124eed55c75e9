"""The configuration files of the node's parts, written from the settings."""

import json
import shutil
from pathlib import Path
from typing import Any

import yaml

from mailtopic_cli.cluster.given import write_kubeconfig

from .cgroups import CgroupTree
from .kubeconfigs import kubeconfig
from .node_settings import (
    API_PORT,
    CLUSTER_DOMAIN,
    CNI_PLUGINS,
    CONTAINERD_SOCKET,
    DNS_SERVICE_IP,
    GATE_SOCKET,
    KUBELET_ROOT,
    NODE_IP,
    PAUSE_IMAGE,
    POD_CIDR,
    NodeSettings,
)

_IDENTITIES = ("kubelet", "controller-manager", "scheduler", "proxy", "agent")

_CONTAINERD = """\
version = 2
root = "{root}"
state = "/run/containerd"
oom_score = 0
# The plugin "opt" would make /opt/containerd on the machine.
disabled_plugins = [
  "io.containerd.internal.v1.opt",
  "io.containerd.internal.v1.tracing",
  "io.containerd.tracing.processor.v1.otlp",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]

[grpc]
address = "{socket}"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
stream_server_address = "127.0.0.1"
stream_server_port = "0"
disable_apparmor = true
enable_selinux = false
# Without CAP_SYS_RESOURCE runc can't lower a score, and fails with an error that names nothing.
restrict_oom_score_adj = true
tolerate_missing_hugetlb_controller = true
disable_hugetlb_controller = true

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
default_runtime_name = "runc"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
BinaryName = "{runc}"
SystemdCgroup = false

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{cni_bin}"
conf_dir = "{cni_conf}"
"""


def write_config_files(settings: NodeSettings, cgroups: CgroupTree) -> None:
    """Write all of them into the cluster's folder."""
    folder = settings.config
    (folder / "cni").mkdir(parents=True)
    (folder / "containerd.toml").write_text(_containerd(settings))
    (folder / "cni" / "10-mailtopic.conflist").write_text(json.dumps(_cni_chain(), indent=2))
    (folder / "resolv.conf").write_text("")
    _write_yaml(folder / "kubelet.yaml", _kubelet(settings, cgroups))
    _write_yaml(folder / "kube-proxy.yaml", _kube_proxy(settings))
    for identity in _IDENTITIES:
        content = kubeconfig(
            pki=settings.pki, identity=identity, server=f"https://{NODE_IP}:{API_PORT}"
        )
        write_kubeconfig(settings.pki / f"{identity}.kubeconfig", content)


def _containerd(settings: NodeSettings) -> str:
    return _CONTAINERD.format(
        root=settings.node / "containerd",
        socket=CONTAINERD_SOCKET,
        pause=PAUSE_IMAGE,
        runc=shutil.which("runc"),
        cni_bin=CNI_PLUGINS,
        cni_conf=settings.config / "cni",
    )


def _cni_chain() -> dict[str, Any]:
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isDefaultGateway": True,
        "hairpinMode": True,
        "ipMasq": False,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": POD_CIDR}]],
            "dataDir": "/run/mailtopic/cni-addresses",
        },
    }
    port_map = {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True}
    # Last: a pod's network is ready only when its policies are in force.
    gate = {"type": "mailtopic-gate", "socket": str(GATE_SOCKET)}
    return {"cniVersion": "0.4.0", "name": "mailtopic", "plugins": [bridge, port_map, gate]}


def _kubelet(settings: NodeSettings, cgroups: CgroupTree) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": "0.0.0.0",  # noqa: S104 - all of the node's own network namespace
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(settings.pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(settings.pki / "kubelet-serving.crt"),
        "tlsPrivateKeyFile": str(settings.pki / "kubelet-serving.key"),
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroups.kubelet_root,
        "failCgroupV1": False,
        "failSwapOn": False,
        "clusterDNS": [DNS_SERVICE_IP],
        "clusterDomain": CLUSTER_DOMAIN,
        "resolvConf": str(settings.config / "resolv.conf"),
        # The images came by `load` and from nowhere else: collecting one would lose it, and what
        # else fills the machine's disk is none of the node's business.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "1%",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "1%",
        },
        "volumePluginDir": str(KUBELET_ROOT / "volume-plugins"),
        "serializeImagePulls": False,
        # Tests wait for what these delay: a changed ConfigMap, a node's condition.
        "syncFrequency": "10s",
        "nodeStatusUpdateFrequency": "5s",
        "oomScoreAdj": 0,
    }


def _kube_proxy(settings: NodeSettings) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(settings.pki / "proxy.kubeconfig")},
        "mode": "iptables",
        "clusterCIDR": POD_CIDR,
        "bindAddress": "0.0.0.0",  # noqa: S104 - all of the node's own network namespace
        "metricsBindAddress": "127.0.0.1:10249",
        "healthzBindAddress": "127.0.0.1:10256",
        # nf_conntrack_max belongs to the machine, and a network namespace can't set it.
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
        "nodePortAddresses": ["primary"],
        "iptables": {"minSyncPeriod": "100ms", "syncPeriod": "30s"},
        "oomScoreAdj": 0,
    }


def _write_yaml(path: Path, document: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(document, sort_keys=False))
