"""The senders: their objects, and whether they run."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from mailtopic_operator.domain.actions import (
    Action,
    ApplyChild,
    DeleteChild,
    Event,
    PruneChild,
    Side,
    target,
)
from mailtopic_operator.domain.children.common import MANAGER
from mailtopic_operator.domain.children.family import (
    APPLIED,
    deployment_ref,
    is_ours,
    wanted_children,
)
from mailtopic_operator.domain.children.pod_fields import refused_fields
from mailtopic_operator.domain.children.reply_rules import rules_problem
from mailtopic_operator.domain.children.scaling import has_keda, wants_keda
from mailtopic_operator.domain.contest import contested
from mailtopic_operator.domain.credentials import judge_credentials
from mailtopic_operator.domain.desired import Desired
from mailtopic_operator.domain.drift import difference, first_difference, removals
from mailtopic_operator.domain.field_sets import Path, in_words, writer
from mailtopic_operator.domain.findings import Finding, good, listing, pending, stalled
from mailtopic_operator.domain.kafka import TopicState
from mailtopic_operator.domain.observed import Admitted, ChildRef, KubeProblemKind, Observed
from mailtopic_operator.domain.pod_trouble import PodTrouble
from mailtopic_operator.domain.topics import is_missing
from mailtopic_operator.domain.user_findings import user_obstacle
from mailtopic_operator.domain.users import user_ready

Live = Mapping[str, Any]


def can_run(desired: Desired, observed: Observed) -> bool:
    """Whether senders may be started or changed: everything they need exists."""
    return (
        topics_exist(desired, observed)
        and judge_credentials(desired, observed).status == "True"
        and rules_problem(desired) is None
        and user_obstacle(desired, observed) is None
        and user_ready(desired, observed)
    )


def topics_exist(desired: Desired, observed: Observed) -> bool:
    """Whether every topic exists; while Kafka doesn't answer, by its last answer.

    A sender would create a missing topic, without the operator's configuration.
    """
    known = desired.held_topics
    states = {name: observed.topics.get(name) for name in desired.names.all}
    return all(
        isinstance(state, TopicState) or (name in known and not is_missing(state))
        for name, state in states.items()
    )


def sender_actions(desired: Desired, observed: Observed) -> Iterator[Action]:
    """Yield the actions that bring the children to the wanted state."""
    if not can_run(desired, observed) or refused_fields(desired):
        return
    wanted = {ChildRef.of(manifest): manifest for manifest in wanted_children(desired, observed)}
    for ref, live in sorted(observed.children.items()):
        is_going = "deletionTimestamp" in live["metadata"]
        if ref not in wanted and is_ours(live, desired.meta) and not is_going:
            yield DeleteChild(ref, live["metadata"]["uid"])
    for ref, manifest in wanted.items():
        yield from _child_actions(desired, observed, ref, manifest)


def _child_actions(
    desired: Desired, observed: Observed, ref: ChildRef, manifest: Live
) -> Iterator[Action]:
    live = observed.children.get(ref)
    if live is None:
        is_main = ref == deployment_ref(desired)
        created = Event("Normal", "SendersCreated", f"{ref} is created") if is_main else None
        yield ApplyChild(manifest, "missing", created)
        return
    if not is_ours(live, desired.meta):
        return
    expected = _expected(manifest, observed.admitted.get(ref))
    patch = removals(manifest, live)
    if patch:
        paths = ", ".join(op["path"] for op in patch[1:4])
        yield PruneChild(ref, live["metadata"]["resourceVersion"], patch, _put_back(ref, paths))
    why = difference(expected, live)
    if why is not None:
        path = first_difference(expected, live) if why == "drift" and not patch else None
        event = None if path is None else _put_back(ref, _changed(live, path))
        yield ApplyChild(manifest, why, event)


def _expected(manifest: Live, admitted: Admitted | None) -> Live:
    """Return what the API server makes of a manifest, as far as that is known."""
    stamp = manifest["metadata"]["annotations"][APPLIED]
    return admitted.manifest if admitted is not None and admitted.stamp == stamp else manifest


def _changed(live: Live, path: Path) -> str:
    by = writer(live["metadata"].get("managedFields") or (), MANAGER, path)
    return f"{in_words(path)} by {by}" if by else in_words(path)


def _put_back(ref: ChildRef, what: str) -> Event:
    return Event("Warning", "DriftCorrected", f"{ref} was changed: {what}; put back")


def judge_senders(
    desired: Desired, observed: Observed, actions: Sequence[Action], now: datetime
) -> Finding:
    """Return the finding for SendersReady; actions are those that are due."""
    live = observed.children.get(deployment_ref(desired))
    return (
        _beyond_the_border(desired)
        or _waiting(desired, observed, live)
        or _unusable(desired)
        or _in_the_way(desired, observed)
        or _refused(observed, actions)
        or contested(observed, actions, now, where=Side.CLUSTER)
        or _unscaled(desired, observed)
        or _rollout(desired, observed, live, is_due=_is_due(desired, actions))
    )


def _beyond_the_border(desired: Desired) -> Finding | None:
    fields = refused_fields(desired)
    if not fields:
        return None
    return stalled(
        "PodTemplateNotAllowed",
        f"consumers.podTemplate may not set {listing(fields)} so: take it out, or name it in"
        " operator.sender.podTemplateFields",
    )


def _waiting(desired: Desired, observed: Observed, live: Live | None) -> Finding | None:
    if not topics_exist(desired, observed):
        return pending("WaitingForTopics", "senders start, and change, once all topics exist")
    if live is None and not user_ready(desired, observed):
        return pending("WaitingForKafkaUser", "senders start once they can log in to Kafka")
    credentials = judge_credentials(desired, observed)
    if live is None and credentials.status != "True":
        return Finding("False", "WaitingForCredentials", credentials.message)
    return None


def _unusable(desired: Desired) -> Finding | None:
    problem = rules_problem(desired)
    if problem is None:
        return None
    return stalled("InvalidReplyRule", f"{problem}; until that is mended, senders stay as they are")


def _in_the_way(desired: Desired, observed: Observed) -> Finding | None:
    for ref, live in sorted(observed.children.items()):
        if not is_ours(live, desired.meta):
            return stalled(
                "NameTaken",
                f"{ref} is not of this MailTopic: delete or rename it, or rename the MailTopic",
            )
    return None


def _refused(observed: Observed, actions: Sequence[Action]) -> Finding | None:
    due = {target(action) for action in actions}
    for failure in observed.failures:
        if failure.target not in due:
            continue
        message = f"{failure.target}: {failure.message}"
        if failure.kind is KubeProblemKind.REFUSED:
            return stalled("InvalidObject", f"{message}; see consumers.podTemplate and resources")
        if failure.kind is KubeProblemKind.FORBIDDEN:
            return stalled("Forbidden", message)
        if failure.kind is KubeProblemKind.UNAVAILABLE:
            return pending("ApiUnavailable", message)
    return None


def _unscaled(desired: Desired, observed: Observed) -> Finding | None:
    if wants_keda(desired) and not has_keda(desired, observed):
        return stalled(
            "AutoscalerMissing",
            "KEDA is not installed here, so the number of senders stays fixed: install KEDA, or"
            " write consumers.autoscaling.provider: None",
        )
    return None


def _is_due(desired: Desired, actions: Sequence[Action]) -> bool:
    return str(deployment_ref(desired)) in {target(action) for action in actions}


def _rollout(desired: Desired, observed: Observed, live: Live | None, *, is_due: bool) -> Finding:
    if live is None or is_due:
        return pending("Deploying", "the senders' Deployment is about to be applied")
    wanted, status = wanted_replicas(live), live.get("status") or {}
    if wanted == 0 and not status.get("replicas"):
        if desired.spec.paused:
            return good("Paused", "no sender runs while spec.paused is true")
        return good("ScaledToZero", "no sender runs at the moment")
    updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    is_seen = status.get("observedGeneration", 0) >= live["metadata"].get("generation", 0)
    if is_seen and min(updated, available) >= wanted and status.get("replicas", 0) <= wanted:
        return good("Running", f"{wanted} senders run")
    failure = _failure(observed.pod_trouble, status)
    if failure is not None:
        return failure
    return pending("RollingOut", f"{min(updated, available)} of {wanted} senders are up to date")


def wanted_replicas(live: Live) -> int:
    """Return how many senders the Deployment asks for, set by the operator or an autoscaler."""
    return int(live["spec"].get("replicas", 1))


def _failure(trouble: PodTrouble | None, status: Live) -> Finding | None:
    """Return why a rollout doesn't go on: the pod's own words before the Deployment's."""
    if trouble is not None:
        return (stalled if trouble.is_stalled else pending)(trouble.reason, trouble.message)
    for condition in status.get("conditions") or ():
        message = condition.get("message", "")
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            return stalled("PodsRefused", message)
        if condition["type"] == "Progressing" and condition["status"] == "False":
            return stalled("RolloutStuck", f"{message}; see `kubectl describe pod` of the senders")
    return None
