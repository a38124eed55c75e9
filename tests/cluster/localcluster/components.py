"""The programs of the node and how each is started; nothing here starts any."""

import sys
from dataclasses import dataclass

from .node_settings import (
    API_PORT,
    CLUSTER_DOMAIN,
    ETCD_DATA,
    KUBELET_ROOT,
    NODE_IP,
    NODE_NAME,
    POD_CIDR,
    SERVICE_CIDR,
    NodeSettings,
)

_ETCD_URL = "http://127.0.0.1:2379"
_ETCD_PEER_URL = "http://127.0.0.1:2380"


@dataclass(frozen=True)
class Component:
    """One program of the node; its log is named after it."""

    name: str
    command: tuple[str, ...]


def before_the_api(settings: NodeSettings, listener_fd: int) -> list[Component]:
    """What starts first; the last of them is the way in from the machine's loopback address."""
    return [
        _etcd(),
        Component("containerd", ("containerd", "--config", f"{settings.config}/containerd.toml")),
        _api_server(settings),
        Component("forwarder", _python_module("forwarder", str(listener_fd))),
    ]


def behind_the_api(settings: NodeSettings) -> list[Component]:
    """What starts when the API server is ready."""
    return [
        Component("agent", _python_module("agent", str(settings.state))),
        _controller_manager(settings),
        _scheduler(settings),
        _kubelet(settings),
        Component(
            "kube-proxy",
            (
                f"{settings.node_bin}/kube-proxy",
                f"--config={settings.config}/kube-proxy.yaml",
                f"--hostname-override={NODE_NAME}",
            ),
        ),
    ]


def _python_module(name: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-P", "-m", f"localcluster.{name}", *arguments)


def _etcd() -> Component:
    return Component(
        "etcd",
        (
            "etcd",
            f"--name={NODE_NAME}",
            f"--data-dir={ETCD_DATA}",
            f"--listen-client-urls={_ETCD_URL}",
            f"--advertise-client-urls={_ETCD_URL}",
            f"--listen-peer-urls={_ETCD_PEER_URL}",
            f"--initial-advertise-peer-urls={_ETCD_PEER_URL}",
            f"--initial-cluster={NODE_NAME}={_ETCD_PEER_URL}",
        ),
    )


def _api_server(settings: NodeSettings) -> Component:
    pki = settings.pki
    options = {
        "advertise-address": NODE_IP,
        "bind-address": "0.0.0.0",  # noqa: S104 - all of the node's own network namespace
        "secure-port": API_PORT,
        "etcd-servers": _ETCD_URL,
        "client-ca-file": f"{pki}/ca.crt",
        "tls-cert-file": f"{pki}/apiserver.crt",
        "tls-private-key-file": f"{pki}/apiserver.key",
        "service-account-key-file": f"{pki}/service-accounts.pub",
        "service-account-signing-key-file": f"{pki}/service-accounts.key",
        "service-account-issuer": f"https://kubernetes.default.svc.{CLUSTER_DOMAIN}",
        "service-cluster-ip-range": SERVICE_CIDR,
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "allow-privileged": "true",
        "kubelet-client-certificate": f"{pki}/apiserver-kubelet.crt",
        "kubelet-client-key": f"{pki}/apiserver-kubelet.key",
        "kubelet-certificate-authority": f"{pki}/ca.crt",
        "kubelet-preferred-address-types": "InternalIP",
        "requestheader-client-ca-file": f"{pki}/front-proxy-ca.crt",
        "requestheader-allowed-names": "front-proxy-client",
        "requestheader-username-headers": "X-Remote-User",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "proxy-client-cert-file": f"{pki}/front-proxy-client.crt",
        "proxy-client-key-file": f"{pki}/front-proxy-client.key",
        "enable-aggregator-routing": "true",
    }
    return Component("kube-apiserver", _command(settings, "kube-apiserver", options))


def _controller_manager(settings: NodeSettings) -> Component:
    pki = settings.pki
    options = {
        **_controller_access(settings, "controller-manager"),
        "cluster-cidr": POD_CIDR,
        "allocate-node-cidrs": "true",
        "service-cluster-ip-range": SERVICE_CIDR,
        "service-account-private-key-file": f"{pki}/service-accounts.key",
        "root-ca-file": f"{pki}/ca.crt",
        "cluster-signing-cert-file": f"{pki}/ca.crt",
        "cluster-signing-key-file": f"{pki}/ca.key",
        "client-ca-file": f"{pki}/ca.crt",
        "requestheader-client-ca-file": f"{pki}/front-proxy-ca.crt",
        "use-service-account-credentials": "true",
        # Three times as often as the default, so that a test of scaling needn't wait for it.
        "horizontal-pod-autoscaler-sync-period": "5s",
    }
    command = _command(settings, "kube-controller-manager", options)
    return Component("kube-controller-manager", command)


def _scheduler(settings: NodeSettings) -> Component:
    options = _controller_access(settings, "scheduler")
    return Component("kube-scheduler", _command(settings, "kube-scheduler", options))


def _kubelet(settings: NodeSettings) -> Component:
    options = {
        "config": f"{settings.config}/kubelet.yaml",
        "kubeconfig": f"{settings.pki}/kubelet.kubeconfig",
        "hostname-override": NODE_NAME,
        "node-ip": NODE_IP,
        "root-dir": KUBELET_ROOT,
        "cert-dir": KUBELET_ROOT / "pki",
        # For what spreads over zones.
        "node-labels": "topology.kubernetes.io/zone=local,topology.kubernetes.io/region=local",
        "v": 2,
    }
    return Component("kubelet", _command(settings, "kubelet", options))


def _controller_access(settings: NodeSettings, identity: str) -> dict[str, object]:
    path = f"{settings.pki}/{identity}.kubeconfig"
    return {
        "kubeconfig": path,
        "authentication-kubeconfig": path,
        "authorization-kubeconfig": path,
        "bind-address": "127.0.0.1",
        # One of each: an election would only make a start wait for a lease.
        "leader-elect": "false",
    }


def _command(
    settings: NodeSettings, program: str, options: dict[str, object] | dict[str, str | int]
) -> tuple[str, ...]:
    flags = (f"--{name}={value}" for name, value in options.items())
    return (f"{settings.node_bin}/{program}", *flags)
