"""How many senders run: a fixed number, or one that KEDA chooses between two bounds."""

import math
from typing import Any, Final

from mailtopic_operator.domain.children.common import child, child_name
from mailtopic_operator.domain.children.pod import CONTAINER
from mailtopic_operator.domain.desired import Desired
from mailtopic_operator.domain.observed import Observed
from mailtopic_operator.model.base import rate_per_s
from mailtopic_operator.model.mailtopic_spec import Provider

SCALED_OBJECT: Final = "ScaledObject"
KEDA: Final = "keda.sh/v1alpha1"
_SASL: Final = {
    "PLAIN": "plaintext",
    "SCRAM-SHA-256": "scram_sha256",
    "SCRAM-SHA-512": "scram_sha512",
}
_ROOM: Final = 1.1
"""The true rate may be a little higher than the learned one."""
_WAKES_ONE: Final = 1_000_000
"""A lag threshold so large that the trigger starts one sender and never a second."""


def wants_keda(desired: Desired) -> bool:
    """Whether KEDA should decide."""
    return desired.spec.consumers.autoscaling.provider is Provider.KEDA


def has_keda(desired: Desired, observed: Observed) -> bool:
    """Whether KEDA decides: it is wanted and installed."""
    return wants_keda(desired) and SCALED_OBJECT in observed.apis


def most_senders(desired: Desired) -> int:
    """Return how many senders are useful: by partitions, the user's bound, the relays' limits.

    A learned limit never goes below minReplicas.
    """
    scaling = desired.spec.consumers.autoscaling
    bounds = [desired.spec.topic.partitions]
    if scaling.max_replicas is not None:
        bounds.append(scaling.max_replicas)
    quota = relay_quota(desired)
    if quota is not None:
        bounds.append(math.ceil(quota / scaling.mails_per_second_per_sender))
    elif (learned := _learned_quota(desired)) is not None:
        useful = math.ceil(learned * _ROOM / scaling.mails_per_second_per_sender)
        bounds.append(max(scaling.min_replicas, useful))
    return max(1, min(bounds))


def relay_quota(desired: Desired) -> float | None:
    """Return the mails per second that all relays together take; None if one has no limit."""
    limits = [relay.rate_limit for relay in desired.spec.relays]
    given = [limit for limit in limits if limit is not None]
    return sum(map(rate_per_s, given)) if len(given) == len(limits) else None


def _learned_quota(desired: Desired) -> float | None:
    """Return the same with learned rates where no limit is set; None if one is unknown.

    Learned rates come from the status, where they are stable.
    """
    known = {relay.name: relay.mails_per_second for relay in desired.status.relays}
    limits = [
        known.get(relay.name) if relay.rate_limit is None else rate_per_s(relay.rate_limit)
        for relay in desired.spec.relays
    ]
    given = [limit for limit in limits if limit is not None]
    return sum(given) if len(given) == len(limits) else None


def fixed_replicas(desired: Desired, observed: Observed) -> int | None:
    """Return .spec.replicas of the Deployment; None if KEDA sets it."""
    if has_keda(desired, observed):
        return None
    if desired.spec.paused:
        return 0
    consumers = desired.spec.consumers
    if wants_keda(desired):
        # Without KEDA nothing would start the first one.
        return max(1, consumers.autoscaling.min_replicas)
    return consumers.replicas


def scaled_object(desired: Desired) -> dict[str, Any]:
    """Return KEDA's ScaledObject: as many senders as bring the lag below the target."""
    scaling = desired.spec.consumers.autoscaling
    most = most_senders(desired)
    least = min(scaling.min_replicas, most)
    main = desired.names.main
    threshold = scaling.target_lag_seconds * scaling.mails_per_second_per_sender
    triggers = [_trigger(desired, main, main, threshold)]
    if least == 0:
        # Mails that wait for a retry need a running sender when they are due. A trigger without a
        # topic would count every record of every topic while the group is new.
        group = f"{main}.retry"
        triggers += [_trigger(desired, group, name, _WAKES_ONE) for name in desired.names.retries]
    spec = {
        "scaleTargetRef": {"name": child_name(desired)},
        "minReplicaCount": least,
        "maxReplicaCount": most,
        "pollingInterval": 15,
        "cooldownPeriod": 120,
        "triggers": triggers,
    }
    made = child(KEDA, SCALED_OBJECT, desired, spec=spec)
    if desired.spec.paused:
        made["metadata"]["annotations"] = {"autoscaling.keda.sh/paused-replicas": "0"}
    return made


def _trigger(desired: Desired, group: str, topic: str, threshold: int) -> dict[str, Any]:
    kafka = desired.kafka
    metadata = {
        "bootstrapServers": kafka.bootstrap_servers,
        "consumerGroup": group,
        "topic": topic,
        "lagThreshold": str(threshold),
        "offsetResetPolicy": "earliest",
        "tls": "enable" if kafka.has_tls else "disable",
    }
    if kafka.has_sasl:
        metadata["sasl"] = _SASL[kafka.sasl_mechanism]
    trigger: dict[str, Any] = {"type": "kafka", "metadata": metadata}
    if needs_authentication(desired):
        trigger["authenticationRef"] = {"name": child_name(desired)}
    return trigger


def needs_authentication(desired: Desired) -> bool:
    """Whether KEDA needs secrets to query Kafka."""
    return desired.kafka.password is not None or desired.kafka.ca is not None


def trigger_authentication(desired: Desired) -> dict[str, Any]:
    """Return the object through which KEDA uses the senders' own login."""
    kafka = desired.kafka
    secrets = (("password", kafka.password), ("ca", kafka.ca))
    spec: dict[str, Any] = {
        "secretTargetRef": [
            {"parameter": name, "name": secret.name, "key": secret.key}
            for name, secret in secrets
            if secret is not None
        ]
    }
    if kafka.has_sasl:
        name = "MAILTOPIC_KAFKA__USERNAME"
        spec["env"] = [{"parameter": "username", "name": name, "containerName": CONTAINER}]
    return child(KEDA, "TriggerAuthentication", desired, spec=spec)
