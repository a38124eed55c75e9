"""The senders' pods; keep in step with charts/sender."""

from typing import Any, Final

from mailtopic_operator.domain.children import reply_rules
from mailtopic_operator.domain.children.common import (
    KAFKA_CLIENT,
    OWNER_LABEL,
    SMTP_CLIENT,
    child_name,
    selector,
)
from mailtopic_operator.domain.children.merge import merge
from mailtopic_operator.domain.children.relay_files import DIRECTORY, relay_volume
from mailtopic_operator.domain.children.reply_rules import rules_annotation, rules_volume
from mailtopic_operator.domain.children.settings_env import (
    DKIM_DIRECTORY,
    DRAIN_TIMEOUT_S,
    KAFKA_DIRECTORY,
    METRICS_PORT,
    SEALING_DIRECTORY,
    TEMPLATE_DIRECTORY,
    sender_env,
)
from mailtopic_operator.domain.desired import Desired
from mailtopic_operator.model.signing import Dkim

GRACE_S: Final = DRAIN_TIMEOUT_S + 15
"""Seconds for a pod to stop: draining, the last outcomes and commits."""

CHECKSUM: Final = "mailtopic.dev/checksum"
CONTAINER: Final = "sender"
UID: Final = 10001

_RESOURCES: Final = {
    "requests": {"cpu": "100m", "memory": "96Mi"},
    "limits": {"cpu": "1", "memory": "192Mi"},
}
_MODE: Final = 0o440


def pod_template(desired: Desired, checksum: str) -> dict[str, Any]:
    """Return the template of the Deployment, the user's additions merged into it."""
    ours = {"metadata": _metadata(desired, checksum), "spec": _spec(desired)}
    merged: dict[str, Any] = merge(ours, desired.spec.consumers.pod_template or {})
    # The user can't change the labels that select the pods.
    labels = merged["metadata"].get("labels") or {}
    merged["metadata"]["labels"] = {**labels, **_pod_labels(desired)}
    return merged


def _pod_labels(desired: Desired) -> dict[str, str]:
    return {
        **selector(desired),
        "app.kubernetes.io/component": "sender",
        "app.kubernetes.io/part-of": "mailtopic",
        OWNER_LABEL: desired.meta.name,
        KAFKA_CLIENT: "true",
        SMTP_CLIENT: "true",
    }


def _metadata(desired: Desired, checksum: str) -> dict[str, Any]:
    annotations = {
        "kubectl.kubernetes.io/default-container": CONTAINER,
        CHECKSUM: checksum,
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(METRICS_PORT),
        "prometheus.io/path": "/metrics",
        **rules_annotation(desired),
    }
    return {"labels": _pod_labels(desired), "annotations": annotations}


def _spec(desired: Desired) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "serviceAccountName": child_name(desired),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_S,
        "securityContext": restricted_pod(),
        "topologySpreadConstraints": [
            _spread(desired, "topology.kubernetes.io/zone"),
            _spread(desired, "kubernetes.io/hostname"),
        ],
        "containers": [_container(desired)],
    }
    if volumes := _volumes(desired):
        spec["volumes"] = volumes
    if secrets := desired.defaults.sender.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in secrets]
    return spec


def restricted_pod() -> dict[str, Any]:
    """Return a pod's security context: the restricted Pod Security Standard."""
    return {
        "runAsNonRoot": True,
        "runAsUser": UID,
        "runAsGroup": UID,
        "fsGroup": UID,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def restricted_container() -> dict[str, Any]:
    """Return a container's security context, likewise: only volumes are writable."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def _spread(desired: Desired, key: str) -> dict[str, Any]:
    return {
        "maxSkew": 1,
        "topologyKey": key,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": selector(desired)},
    }


def _container(desired: Desired) -> dict[str, Any]:
    defaults = desired.defaults.sender
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": defaults.image,
        "imagePullPolicy": defaults.image_pull_policy,
        "securityContext": restricted_container(),
        "env": sender_env(desired),
        "ports": [{"name": "metrics", "containerPort": METRICS_PORT, "protocol": "TCP"}],
        "startupProbe": _probe("/livez", period_s=2, timeout_s=3, failures=60),
        "livenessProbe": _probe("/livez", period_s=10, timeout_s=5, failures=3),
        "readinessProbe": _probe("/readyz", period_s=2, timeout_s=5, failures=3),
        "resources": dict(desired.spec.consumers.resources or defaults.resources or _RESOURCES),
        # The last line of a crash is in the MailTopic's condition.
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    if mounts := _mounts(desired):
        container["volumeMounts"] = mounts
    return container


def _probe(path: str, *, period_s: int, timeout_s: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": "metrics"},
        "periodSeconds": period_s,
        "timeoutSeconds": timeout_s,
        "failureThreshold": failures,
    }


def _volumes(desired: Desired) -> list[dict[str, Any]]:
    volumes = [kafka_volume(desired), relay_volume(desired), rules_volume(desired)]
    if desired.spec.sealing is not None:
        keys = desired.spec.sealing.keys_secret_ref
        items = [{"key": keys.key, "path": "keys.json"}]
        secret = {"secretName": keys.name, "defaultMode": _MODE, "items": items}
        volumes.append({"name": "sealing-keys", "secret": secret})
    if desired.spec.dkim is not None:
        volumes.append(_signing_keys(desired.spec.dkim))
    volumes += [
        {"name": "templates", "configMap": {"name": name, "defaultMode": _MODE}}
        for name in desired.config_maps
    ]
    return [volume for volume in volumes if volume is not None]


def _signing_keys(dkim: Dkim) -> dict[str, Any]:
    files = [f"{selector}.pem" for selector in dkim.selectors]
    secret = {
        "secretName": dkim.keys_secret_ref.name,
        "defaultMode": _MODE,
        "items": [{"key": file, "path": file} for file in files],
    }
    return {"name": "dkim-keys", "secret": secret}


def kafka_volume(desired: Desired) -> dict[str, Any] | None:
    """Return the volume with Kafka's password and CA certificates; None if there are none."""
    kafka = desired.kafka
    files = ((kafka.password, "password"), (kafka.ca, "ca.crt"))
    sources = [
        {"secret": {"name": secret.name, "items": [{"key": secret.key, "path": path}]}}
        for secret, path in files
        if secret is not None
    ]
    if not sources:
        return None
    return {"name": "kafka-access", "projected": {"defaultMode": _MODE, "sources": sources}}


def _mounts(desired: Desired) -> list[dict[str, Any]]:
    paths = {
        "kafka-access": KAFKA_DIRECTORY,
        "relays": DIRECTORY,
        reply_rules.VOLUME: reply_rules.DIRECTORY,
        "sealing-keys": SEALING_DIRECTORY,
        "dkim-keys": DKIM_DIRECTORY,
        "templates": TEMPLATE_DIRECTORY,
    }
    return [
        {"name": volume["name"], "mountPath": paths[volume["name"]], "readOnly": True}
        for volume in _volumes(desired)
    ]
