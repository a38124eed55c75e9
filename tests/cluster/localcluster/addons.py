"""What runs in every cluster of ours: cluster DNS, resource metrics, the default storage class."""

from typing import Any

from .node_settings import CLUSTER_DOMAIN, DNS_IMAGE, DNS_SERVICE_IP, METRICS_IMAGE
from .volumes import storage_class

Manifest = dict[str, Any]

_NAMESPACE = "kube-system"
_COREFILE = f"""\
.:53 {{
    errors
    health
    ready
    kubernetes {CLUSTER_DOMAIN} in-addr.arpa ip6.arpa {{
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
    }}
    cache 5
    loadbalance
}}
"""


def manifests() -> list[Manifest]:
    """Return all of it, in an order in which it can be applied."""
    return [storage_class(), *_dns(), *_metrics()]


def _dns() -> list[Manifest]:
    name = "coredns"
    config = {"name": "config", "configMap": {"name": name}}
    container = {
        "name": name,
        "image": DNS_IMAGE,
        "imagePullPolicy": "Never",
        "args": ["-conf", "/etc/coredns/Corefile"],
        "ports": [
            {"name": "dns", "containerPort": 53, "protocol": "UDP"},
            {"name": "dns-tcp", "containerPort": 53, "protocol": "TCP"},
        ],
        "resources": {"requests": {"cpu": "20m", "memory": "40Mi"}, "limits": {"memory": "170Mi"}},
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
        "livenessProbe": {"httpGet": {"path": "/health", "port": 8080}, "initialDelaySeconds": 10},
        "securityContext": {
            # Port 53 needs the capability, and only root keeps one that is added here.
            "runAsUser": 0,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
        },
        "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns", "readOnly": True}],
    }
    ports = [
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
    ]
    labels = {"k8s-app": "kube-dns"}
    watched = [
        _rule("", ["endpoints", "services", "pods", "namespaces"], ["list", "watch"]),
        _rule("discovery.k8s.io", ["endpointslices"], ["list", "watch"]),
    ]
    return [
        *_identity(name, watched),
        _object("v1", "ConfigMap", name, data={"Corefile": _COREFILE}),
        _deployment(name, labels, container, [config]),
        _object(
            "v1",
            "Service",
            "kube-dns",
            labels=labels,
            spec={"selector": labels, "clusterIP": DNS_SERVICE_IP, "ports": ports},
        ),
    ]


def _metrics() -> list[Manifest]:
    name = "metrics-server"
    labels = {"k8s-app": name}
    authority = {"name": "authority", "configMap": {"name": "kube-root-ca.crt"}}
    container = {
        "name": name,
        "image": METRICS_IMAGE,
        "imagePullPolicy": "Never",
        "args": [
            "--secure-port=10250",
            "--cert-dir=/tmp",
            "--kubelet-preferred-address-types=InternalIP",
            "--kubelet-certificate-authority=/authority/ca.crt",
            # The shortest that it takes; its requests must time out sooner.
            "--metric-resolution=10s",
            "--kubelet-request-timeout=5s",
        ],
        "ports": [{"name": "https", "containerPort": 10250}],
        "resources": {"requests": {"cpu": "20m", "memory": "60Mi"}, "limits": {"memory": "200Mi"}},
        "readinessProbe": {
            "httpGet": {"path": "/readyz", "port": "https", "scheme": "HTTPS"},
            "periodSeconds": 1,
        },
        "securityContext": {
            "runAsNonRoot": True,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a volume of the pod's own
            {"name": "authority", "mountPath": "/authority", "readOnly": True},
        ],
    }
    rules = [
        _rule("", ["nodes/metrics"], ["get"]),
        _rule("", ["pods", "nodes"], ["get", "list", "watch"]),
    ]
    service = {"selector": labels, "ports": [{"name": "https", "port": 443, "targetPort": "https"}]}
    return [
        *_identity(name, rules),
        _binding(f"system:{name}:auth-delegator", name, "ClusterRole", "system:auth-delegator"),
        _reader_of_authentication(name),
        _readers_of_metrics(),
        _deployment(name, labels, container, [{"name": "tmp", "emptyDir": {}}, authority]),
        _object("v1", "Service", name, labels=labels, spec=service),
        _metrics_api(name),
    ]


def _metrics_api(service: str) -> Manifest:
    return {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": "v1beta1.metrics.k8s.io"},
        "spec": {
            "group": "metrics.k8s.io",
            "version": "v1beta1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            # Its certificate is its own and new at each start; the kubelet's is verified.
            "insecureSkipTLSVerify": True,
            "service": {"name": service, "namespace": _NAMESPACE},
        },
    }


def _readers_of_metrics() -> Manifest:
    """Let whoever may view a namespace see its usage."""
    aggregate = "rbac.authorization.k8s.io/aggregate-to"
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {
            "name": "system:aggregated-metrics-reader",
            "labels": {f"{aggregate}-{role}": "true" for role in ("view", "edit", "admin")},
        },
        "rules": [_rule("metrics.k8s.io", ["pods", "nodes"], ["get", "list", "watch"])],
    }


def _reader_of_authentication(account: str) -> Manifest:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": f"{account}-auth-reader", "namespace": _NAMESPACE},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "Role",
            "name": "extension-apiserver-authentication-reader",
        },
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": _NAMESPACE}],
    }


def _identity(name: str, rules: list[Manifest]) -> list[Manifest]:
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": f"system:{name}"},
        "rules": rules,
    }
    account = _object("v1", "ServiceAccount", name)
    return [account, role, _binding(f"system:{name}", name, "ClusterRole", f"system:{name}")]


def _binding(name: str, account: str, kind: str, role: str) -> Manifest:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": _NAMESPACE}],
    }


def _deployment(
    name: str, labels: dict[str, str], container: Manifest, volumes: list[Manifest]
) -> Manifest:
    pod = {
        "serviceAccountName": name,
        "priorityClassName": "system-cluster-critical",
        "containers": [container],
        "volumes": volumes,
    }
    spec = {
        "replicas": 1,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    return _object("apps/v1", "Deployment", name, labels=labels, spec=spec)


def _object(
    api_version: str, kind: str, name: str, *, labels: dict[str, str] | None = None, **content: Any
) -> Manifest:
    metadata: Manifest = {"name": name, "namespace": _NAMESPACE}
    if labels:
        metadata["labels"] = labels
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **content}


def _rule(group: str, resources: list[str], verbs: list[str]) -> Manifest:
    return {"apiGroups": [group], "resources": resources, "verbs": verbs}
