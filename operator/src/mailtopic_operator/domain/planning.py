"""plan(desired, observed, now): all of the operator's decisions about a MailTopic."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import ValidationError

from mailtopic_operator.domain.actions import Action, AddFinalizer, Event, Plan, RemoveFinalizer
from mailtopic_operator.domain.border import obstacle, without_numbers
from mailtopic_operator.domain.conditions import (
    READY,
    RECONCILING,
    STALLED,
    to_conditions,
    transitions,
)
from mailtopic_operator.domain.contest import held_until
from mailtopic_operator.domain.deletion import plan_deletion
from mailtopic_operator.domain.desired import Desired, Meta
from mailtopic_operator.domain.findings import Finding, stalled
from mailtopic_operator.domain.judging import judge
from mailtopic_operator.domain.observed import Observed
from mailtopic_operator.domain.reporting import report, status_patch
from mailtopic_operator.domain.senders import sender_actions
from mailtopic_operator.domain.topic_findings import RECREATION_SHOWN
from mailtopic_operator.domain.topic_statuses import topic_statuses
from mailtopic_operator.domain.topics import topic_actions
from mailtopic_operator.domain.user_findings import user_obstacle
from mailtopic_operator.domain.users import left_s, user_actions
from mailtopic_operator.model.mailtopic import FINALIZER
from mailtopic_operator.model.mailtopic_spec import DeletionPolicy
from mailtopic_operator.model.mailtopic_status import MailTopicStatus

RETRY_S: Final = 10.0
"""Seconds until a failed action is tried again, if nothing happens before."""


def plan(desired: Desired, observed: Observed, now: datetime) -> Plan:
    """Return what to do about a MailTopic. Pure: the same arguments give the same plan.

    Promises: it plans nothing if nothing needs to change, and nothing about topics that aren't the
    MailTopic's; it never plans to shrink a topic; it only plans to delete one that was created for
    a MailTopic with deletionPolicy Delete when that, or its namespace, is deleted; whatever part of
    a plan was carried out, the next plan continues from there.
    """
    if desired.meta.deleting_since is not None or observed.is_namespace_terminating:
        return plan_deletion(desired, observed, now)
    hindrance = obstacle(desired, observed)
    if hindrance is not None:
        observed = without_numbers(observed)
    due = () if hindrance else tuple(_actions(desired, observed, now))
    findings = judge(desired, observed, due, now)
    status = report(desired, observed, findings, due=due, now=now)
    is_acting = desired.is_managed and not desired.is_dry_run
    actions = tuple(action for action in due if held_until(action, observed, now) is None)
    return Plan(actions if is_acting else (), status, _requeue_after_s(desired, observed, due, now))


def _actions(desired: Desired, observed: Observed, now: datetime) -> Iterator[Action]:
    has_finalizer = FINALIZER in desired.meta.finalizers
    is_needed = (
        desired.spec.deletion_policy is DeletionPolicy.DELETE or desired.kafka_user is not None
    )
    if is_needed and not has_finalizer:
        # Before anything exists that it protects.
        yield AddFinalizer()
    if has_finalizer and not is_needed:
        yield RemoveFinalizer()
    yield from topic_actions(desired, observed)
    if user_obstacle(desired, observed) is None:
        yield from user_actions(desired, observed, now)
    yield from sender_actions(desired, observed)


def _requeue_after_s(
    desired: Desired, observed: Observed, due: Sequence[Action], now: datetime
) -> float | None:
    if observed.failures:
        return RETRY_S
    held = [until - now for each in due if (until := held_until(each, observed, now)) is not None]
    shown = [
        RECREATION_SHOWN - (now - datetime.fromisoformat(topic.recreated_at))
        for topic in topic_statuses(desired, observed, now)
        if topic.recreated_at is not None
    ]
    left = [rest.total_seconds() for rest in (*held, *shown) if rest > timedelta()]
    if desired.kafka_user is not None:
        users = (left_s(desired, user, now) for user in desired.status.kafka_users)
        left += [max(rest, 1.0) for rest in users if rest is not None]
    return min(left) if left else None


def plan_invalid(body: Mapping[str, Any], problem: str, now: datetime) -> Plan:
    """Return what to do about a MailTopic that can't be parsed: nothing but report it.

    An API server with our CRD refuses it; one with an older CRD may not. What was created for it
    before stays unchanged, and its deletion completes: its policy is unknown. A status that can't
    be parsed is left unchanged.

    Args:
        body: the object from the API server.
        problem: what is wrong, without quoting the input.
        now: the current time.
    """
    meta = Meta.parse(body)
    if meta.deleting_since is not None:
        event = Event("Warning", "TopicsRetained", "the spec can't be understood; topics stay")
        return Plan((RemoveFinalizer(event),) if FINALIZER in meta.finalizers else ())
    try:
        old = MailTopicStatus.model_validate(body.get("status") or {})
    except ValidationError:
        # A report into a status that can't be parsed would be repeated forever.
        return Plan()
    message = f"{problem}: correct it, and install the CRDs of this operator's version"
    findings = {
        READY: stalled("InvalidSpec", message),
        RECONCILING: Finding("False", "InvalidSpec", ""),
        STALLED: Finding("True", "InvalidSpec", message),
    }
    made = to_conditions(findings, old.conditions, generation=meta.generation, now=now)
    others = tuple(c for c in old.conditions if c.type not in findings)
    new = old.model_copy(
        update={"conditions": (*made, *others), "observed_generation": meta.generation}
    )
    return Plan(status=status_patch(old, new, tuple(transitions(findings, old.conditions))))
