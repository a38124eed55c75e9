"""All children of a MailTopic."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from mailtopic_operator.domain.children.common import (
    MANAGED_BY,
    MANAGER,
    child,
    child_name,
    selector,
)
from mailtopic_operator.domain.children.network import network_policy
from mailtopic_operator.domain.children.pod import pod_template
from mailtopic_operator.domain.children.scaling import (
    KEDA,
    SCALED_OBJECT,
    fixed_replicas,
    has_keda,
    needs_authentication,
    scaled_object,
    trigger_authentication,
)
from mailtopic_operator.domain.credentials import checksum
from mailtopic_operator.domain.desired import Desired, Meta
from mailtopic_operator.domain.observed import ChildRef, Observed

APPLIED: Final = "mailtopic.dev/applied"
"""Annotation of every child: a digest of the manifest that was applied last."""

KINDS: Final = (
    ("v1", "ServiceAccount"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    (KEDA, "TriggerAuthentication"),
    ("apps/v1", "Deployment"),
    ("policy/v1", "PodDisruptionBudget"),
    (KEDA, SCALED_OBJECT),
)
"""All kinds of children, in the order in which they are applied."""


def child_refs(desired: Desired) -> tuple[ChildRef, ...]:
    """Return every object to look for: each possible child, wanted or not."""
    return tuple(ChildRef(version, kind, child_name(desired)) for version, kind in KINDS)


def deployment_ref(desired: Desired) -> ChildRef:
    """Return the Deployment of the senders."""
    return ChildRef("apps/v1", "Deployment", child_name(desired))


def wanted_children(desired: Desired, observed: Observed) -> tuple[Mapping[str, Any], ...]:
    """Return the wanted children, in the order in which to apply them."""
    return tuple(_stamped(manifest) for manifest in _manifests(desired, observed))


def _manifests(desired: Desired, observed: Observed) -> Iterator[dict[str, Any]]:
    yield child("v1", "ServiceAccount", desired, automountServiceAccountToken=False)
    if desired.defaults.sender.network_policy:
        yield network_policy(desired)
    is_scaled = has_keda(desired, observed)
    if is_scaled and needs_authentication(desired):
        yield trigger_authentication(desired)
    yield _deployment(desired, observed)
    yield child("policy/v1", "PodDisruptionBudget", desired, spec=_budget(desired))
    if is_scaled:
        yield scaled_object(desired)


def _deployment(desired: Desired, observed: Observed) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "revisionHistoryLimit": 5,
        "minReadySeconds": 0,
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
        },
        "selector": {"matchLabels": selector(desired)},
        "template": pod_template(desired, checksum(desired, observed)),
    }
    replicas = fixed_replicas(desired, observed)
    if replicas is not None:
        spec["replicas"] = replicas
    return child("apps/v1", "Deployment", desired, spec=spec)


def _budget(desired: Desired) -> dict[str, Any]:
    return {
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": {"matchLabels": selector(desired)},
    }


def _stamped(manifest: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(manifest, sort_keys=True)
    annotations = manifest["metadata"].setdefault("annotations", {})
    annotations[APPLIED] = hashlib.sha256(text.encode()).hexdigest()[:16]
    return manifest


def is_ours(live: Mapping[str, Any], meta: Meta) -> bool:
    """Whether an object with a child's name is that child, not a foreign object."""
    metadata = live["metadata"]
    owners = [o for o in metadata.get("ownerReferences", ()) if o.get("controller")]
    if owners:
        return bool(owners[0]["uid"] == meta.uid)
    # A child without its owner reference, removed by hand, is still ours: it is restored.
    return bool((metadata.get("labels") or {}).get(MANAGED_BY) == MANAGER)
