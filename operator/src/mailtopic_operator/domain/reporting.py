"""The status of a MailTopic: new findings, and the previous values where there are none."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from mailtopic_operator.domain.actions import Action, Event, PatchStatus
from mailtopic_operator.domain.children.common import selector
from mailtopic_operator.domain.children.family import deployment_ref
from mailtopic_operator.domain.children.scaling import fixed_replicas
from mailtopic_operator.domain.conditions import to_conditions, transitions
from mailtopic_operator.domain.describing import describe
from mailtopic_operator.domain.desired import Desired
from mailtopic_operator.domain.findings import Finding
from mailtopic_operator.domain.observed import Observed
from mailtopic_operator.domain.relay_paces import relay_statuses
from mailtopic_operator.domain.senders import wanted_replicas
from mailtopic_operator.domain.times import timestamp
from mailtopic_operator.domain.topic_statuses import topic_statuses
from mailtopic_operator.domain.users import user_statuses
from mailtopic_operator.model.mailtopic_status import (
    ConsumersStatus,
    DeadLetterStatus,
    LagStatus,
    MailTopicStatus,
)

LAG_EVERY: Final = timedelta(seconds=60)
"""The shortest interval between writes of a changing lag."""

_NOTICEABLE: Final = 0.1
"""The relative change from which a lag is written."""

_PLAN_LINES: Final = 64
_LINE_LENGTH: Final = 512


def report(
    desired: Desired,
    observed: Observed,
    findings: Mapping[str, Finding],
    *,
    due: Sequence[Action],
    now: datetime,
) -> PatchStatus | None:
    """Return the status to write; None if it already matches the findings.

    Args:
        desired: the MailTopic, with its current status.
        observed: its observed state.
        findings: by the type of the condition.
        due: the planned actions; a dry run reports them.
        now: the current time.
    """
    lines = [describe(action)[:_LINE_LENGTH] for action in due] if desired.is_dry_run else []
    topics = topic_statuses(desired, observed, now)
    status = MailTopicStatus(
        observed_generation=desired.meta.generation,
        topic=next((t for t in topics if t.name == desired.names.main), None),
        topics=topics,
        kafka_users=user_statuses(desired, observed, now),
        consumers=_consumers(desired, observed),
        relays=relay_statuses(desired, observed),
        lag=_lag(desired, observed),
        dead_letter=_dead_letters(desired, observed),
        plan=tuple(lines[:_PLAN_LINES]),
        conditions=to_conditions(
            findings, desired.status.conditions, generation=desired.meta.generation, now=now
        ),
    )
    events = tuple(transitions(findings, desired.status.conditions))
    return status_patch(desired.status, status, events)


def status_patch(
    old: MailTopicStatus, new: MailTopicStatus, events: tuple[Event, ...]
) -> PatchStatus | None:
    """Return the patch from the old status to the new one; None if they are equal."""
    if old == new:
        return None
    before, after = old.to_object(), new.to_object()
    return PatchStatus(after, {"status": merge_patch(before, after)}, events)


def merge_patch(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON merge patch (RFC 7386) from one object to another."""
    patch: dict[str, Any] = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            if before != value:
                patch[key] = merge_patch(before, value)
        elif key not in old or before != value:
            patch[key] = value
    return patch


def _consumers(desired: Desired, observed: Observed) -> ConsumersStatus:
    live = observed.children.get(deployment_ref(desired))
    labels = ",".join(f"{key}={value}" for key, value in sorted(selector(desired).items()))
    if live is None:
        wanted = fixed_replicas(desired, observed) or 0
        return ConsumersStatus(ready=f"0/{wanted}", selector=labels)
    status = live.get("status") or {}
    ready = status.get("readyReplicas", 0)
    return ConsumersStatus(
        replicas=status.get("replicas", 0),
        ready_replicas=ready,
        ready=f"{ready}/{wanted_replicas(live)}",
        selector=labels,
    )


def _lag(desired: Desired, observed: Observed) -> LagStatus | None:
    old, lag = desired.status.lag, observed.lag
    if lag is None:
        return old
    new = LagStatus(records=lag.records, seconds=lag.seconds, sampled_at=timestamp(lag.sampled_at))
    if old is None or (old.records == 0) != (new.records == 0):
        return new
    age = lag.sampled_at - datetime.fromisoformat(old.sampled_at)
    changed = abs(new.records - old.records) > _NOTICEABLE * old.records
    return new if changed and age >= LAG_EVERY else old


def _dead_letters(desired: Desired, observed: Observed) -> DeadLetterStatus | None:
    if observed.dead_letters is None:
        return desired.status.dead_letter
    return DeadLetterStatus(records=observed.dead_letters)
