"""Deletion of a MailTopic: the topics stay, or are deleted once they are drained."""

from datetime import datetime, timedelta
from typing import Final

from mailtopic_operator.domain import conditions as kinds
from mailtopic_operator.domain.actions import (
    Action,
    DeleteChild,
    DeleteTopic,
    DropKafkaUser,
    Event,
    Plan,
    RemoveFinalizer,
    target,
)
from mailtopic_operator.domain.children.family import child_refs, deployment_ref, is_ours
from mailtopic_operator.domain.children.scaling import SCALED_OBJECT
from mailtopic_operator.domain.conflict import rival, shared_topics
from mailtopic_operator.domain.desired import Desired
from mailtopic_operator.domain.findings import Finding, listing, pending
from mailtopic_operator.domain.kafka import KafkaProblem, ProblemKind
from mailtopic_operator.domain.naming import name_problem
from mailtopic_operator.domain.observed import Observed
from mailtopic_operator.domain.reporting import report
from mailtopic_operator.domain.senders import wanted_replicas
from mailtopic_operator.domain.topic_statuses import created_topics
from mailtopic_operator.domain.topics import is_missing
from mailtopic_operator.domain.users import users_to_drop
from mailtopic_operator.model.mailtopic import FINALIZER
from mailtopic_operator.model.mailtopic_spec import DeletionPolicy

POLL_S: Final = 2.0
"""Seconds between two checks of a MailTopic that is being deleted."""


def plan_deletion(desired: Desired, observed: Observed, now: datetime) -> Plan:
    """Return what to do about a MailTopic that is deleted, alone or with its namespace.

    It always ends in finite time. Kubernetes' garbage collection deletes the children.
    """
    if FINALIZER not in desired.meta.finalizers:
        return Plan()
    if observed.is_namespace_terminating:
        return _plan_end_of_namespace(desired, observed)
    done = _reason_to_keep(desired, observed) or _outcome(desired, observed, now)
    if done is not None:
        return _without_users(desired, observed, now, done)
    if must_drain(desired, observed, now):
        step = pending("Draining", "senders deliver what is left")
        return _going_on(desired, observed, now, (), step)
    stopping = _stop_senders(desired, observed)
    if stopping is not None:
        step = pending("StoppingSenders", "senders stop before their topics go")
        return _going_on(desired, observed, now, stopping, step)
    deletes = tuple(DeleteTopic(name) for name in _topics_left(desired, observed))
    step = pending("DeletingTopics", "the topics are being deleted")
    return _going_on(desired, observed, now, deletes, step)


def _without_users(desired: Desired, observed: Observed, now: datetime, done: Event) -> Plan:
    """Delete the users in Kafka, after the senders that log in with them; then let it go."""
    users = _users_left(desired, observed)
    if not users:
        return Plan((RemoveFinalizer(done),))
    if _age_s(desired, now) > _patience_s(desired):
        return Plan((RemoveFinalizer(_users_kept(users)),))
    stopping = _stop_senders(desired, observed)
    if stopping is not None:
        step = pending("StoppingSenders", "senders stop before their Kafka user goes")
        return _going_on(desired, observed, now, stopping, step)
    drops = tuple(DropKafkaUser(user) for user in users)
    step = pending("DeletingKafkaUser", "the senders' user in Kafka is being deleted")
    for failure in observed.failures:
        if failure.target in {target(drop) for drop in drops}:
            step = Finding("False", "DeletionRefused", f"{failure.target}: {failure.message}")
    return _going_on(desired, observed, now, drops, step)


def _users_left(desired: Desired, observed: Observed) -> tuple[str, ...]:
    may_act = desired.is_managed and not desired.is_dry_run
    return users_to_drop(desired, observed) if may_act else ()


def _users_kept(users: tuple[str, ...]) -> Event:
    message = f"Kafka did not delete {listing(users)}: delete them, and their ACLs, by hand"
    return Event("Warning", "KafkaUserLeft", message)


def _plan_end_of_namespace(desired: Desired, observed: Observed) -> Plan:
    """Delete the topics if Kafka allows it at once, and remove the finalizer in any case.

    The operator's rights are in that namespace, and maybe the operator itself and Kafka: there may
    be no later chance. Senders were ended before all else.
    """
    done = _reason_to_keep(desired, observed)
    left = _topics_left(desired, observed)
    if done is None and not left:
        done = _deleted(desired, observed)
    if done is None and _problem(desired, observed) is not None:
        done = Event("Warning", "TopicsLeft", "Kafka did not delete the topics at once; they stay")
    users = _users_left(desired, observed)
    if done is not None and users and not _is_refused(observed, users):
        return Plan(tuple(DropKafkaUser(user) for user in users), requeue_after_s=POLL_S)
    if done is not None:
        return Plan((RemoveFinalizer(_users_kept(users) if users else done),))
    return Plan(tuple(DeleteTopic(name) for name in left), requeue_after_s=POLL_S)


def _is_refused(observed: Observed, users: tuple[str, ...]) -> bool:
    tried = {target(DropKafkaUser(user)) for user in users}
    return any(failure.target in tried for failure in observed.failures) or any(
        isinstance(observed.kafka_users.get(user), KafkaProblem) for user in users
    )


def _deleted(desired: Desired, observed: Observed) -> Event:
    made = created_topics(desired, observed)
    kept = [
        name
        for name in desired.topics
        if name not in made and not is_missing(observed.topics.get(name))
    ]
    if not kept:
        return Event("Normal", "TopicsDeleted", f"the topics of {desired.names.main} are gone")
    message = f"not known to be made by the operator, so they stay: {listing(kept)}"
    return Event("Normal", "TopicsRetained", message)


def _outcome(desired: Desired, observed: Observed, now: datetime) -> Event | None:
    """Return how the deletion of the topics ended; None while it continues."""
    if not _topics_left(desired, observed):
        return _deleted(desired, observed)
    if _age_s(desired, now) > _patience_s(desired):
        return Event("Warning", "TopicsLeft", "Kafka did not delete the topics in time; they stay")
    return None


def _reason_to_keep(desired: Desired, observed: Observed) -> Event | None:
    """Return why the topics must not be deleted; None if they may be."""
    if desired.spec.deletion_policy is DeletionPolicy.RETAIN:
        return Event("Normal", "TopicsRetained", "deletionPolicy is Retain: the topics stay")
    if not desired.is_managed or desired.is_dry_run:
        return Event("Normal", "TopicsRetained", "an annotation forbids changes: the topics stay")
    if rival(desired, observed) is not None:
        return Event("Normal", "TopicsRetained", "the topics belong to another MailTopic")
    if name_problem(desired) is not None:
        return Event("Normal", "TopicsRetained", "operator.topics.prefixes forbids these topics")
    if any(failure.kind is ProblemKind.NOT_SUPPORTED for failure in observed.failures):
        message = "the brokers don't delete topics (delete.topic.enable=false): they stay"
        return Event("Warning", "TopicsRetained", message)
    return None


def _topics_left(desired: Desired, observed: Observed) -> tuple[str, ...]:
    """Return the topics to delete that exist, or may exist.

    Only those that the operator created for this MailTopic and that no other one uses.
    """
    made = created_topics(desired, observed) - shared_topics(desired, observed)
    return tuple(
        name
        for name in desired.topics
        if name in made and not is_missing(observed.topics.get(name))
    )


def _age_s(desired: Desired, now: datetime) -> float:
    since = desired.meta.deleting_since
    return (now - since).total_seconds() if since is not None else 0.0


def _patience_s(desired: Desired) -> float:
    return desired.defaults.drain_timeout_s + desired.defaults.give_up_s


def must_drain(desired: Desired, observed: Observed, now: datetime) -> bool:
    """Whether senders still have mails to send, and may continue.

    Where nothing sends (paused, no Deployment), waiting would be pointless.
    """
    live = observed.children.get(deployment_ref(desired))
    if live is None or not wanted_replicas(live):
        return False
    if "deletionTimestamp" in live["metadata"]:
        return False
    if _age_s(desired, now) > desired.defaults.drain_timeout_s:
        return False
    # A measurement from before the deletion misses records that arrived until then.
    since, lag = desired.meta.deleting_since, observed.lag
    is_empty = lag is not None and lag.records == 0 and (since is None or lag.sampled_at >= since)
    return not is_empty


def _stop_senders(desired: Desired, observed: Observed) -> tuple[Action, ...] | None:
    """Return what stops the senders, which would create topics again; None if none is left."""
    scaler = [ref for ref in child_refs(desired) if ref.kind == SCALED_OBJECT]
    found = {
        ref: observed.children[ref]
        for ref in (*scaler, deployment_ref(desired))
        if ref in observed.children and is_ours(observed.children[ref], desired.meta)
    }
    if not found:
        return None
    return tuple(
        DeleteChild(ref, live["metadata"]["uid"], "Foreground")
        for ref, live in found.items()
        if "deletionTimestamp" not in live["metadata"]
    )


def _going_on(
    desired: Desired, observed: Observed, now: datetime, actions: tuple[Action, ...], step: Finding
) -> Plan:
    problem = _problem(desired, observed)
    if problem is not None:
        step = problem
    findings = {
        kinds.READY: step,
        kinds.RECONCILING: Finding("True", step.reason, step.message),
        kinds.STALLED: Finding("False", "Settled", ""),
    }
    old = {c.type: Finding(c.status, c.reason, c.message) for c in desired.status.conditions}
    status = report(desired, observed, {**old, **findings}, due=actions, now=now)
    return Plan(actions, status, POLL_S)


def _problem(desired: Desired, observed: Observed) -> Finding | None:
    """Return Kafka's objection to the deletion; after some time the topics are left in place."""
    until = timedelta(seconds=_patience_s(desired))
    left = set(_topics_left(desired, observed))
    told = [(f.target, f.message) for f in observed.failures if f.target in left]
    told += [
        (name, state.message)
        for name, state in observed.topics.items()
        if name in left and isinstance(state, KafkaProblem)
    ]
    if not told:
        return None
    message = f"topic {told[0][0]}: {told[0][1]}; after {until} the topics are left as they are"
    return Finding("False", "DeletionRefused", message)
