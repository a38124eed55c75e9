"""plan_replay(desired, observed, now): everything that is decided about a MailReplay."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from pydantic import ValidationError

from mailtopic_operator.domain.actions import Action, ApplyChild, Event, PatchStatus, Plan
from mailtopic_operator.domain.conditions import to_conditions
from mailtopic_operator.domain.findings import Finding, good, pending, stalled
from mailtopic_operator.domain.judging import progress
from mailtopic_operator.domain.observed import KubeProblemKind
from mailtopic_operator.domain.replay_job import replay_job
from mailtopic_operator.domain.replays import DesiredReplay, ObservedReplay
from mailtopic_operator.domain.reporting import merge_patch
from mailtopic_operator.domain.times import timestamp
from mailtopic_operator.model.mailreplay import MailReplayStatus, ReplayProgress

COMPLETE: Final = "Complete"
FAILED: Final = "Failed"
_RETRY_S: Final = 10.0


def plan_replay(desired: DesiredReplay, observed: ObservedReplay, now: datetime) -> Plan:
    """Return what to do about a MailReplay. Pure. What has ended is never touched again."""
    if desired.meta.deleting_since is not None or has_ended(desired):
        return Plan()
    due = tuple(_actions(desired, observed))
    finding = _judge(desired, observed)
    status = _status(desired, observed, finding, now)
    return Plan(due, _patch(desired, status, finding), _RETRY_S if observed.failures else None)


def has_ended(desired: DesiredReplay) -> bool:
    """Whether the replay has run to its end, one way or the other."""
    found = (desired.status.condition(kind) for kind in (COMPLETE, FAILED))
    return any(condition is not None and condition.status == "True" for condition in found)


def _actions(desired: DesiredReplay, observed: ObservedReplay) -> tuple[Action, ...]:
    topic = desired.topic
    if topic is None or observed.job is not None or not topic.is_managed or topic.is_dry_run:
        return ()
    started = Event("Normal", "ReplayStarted", f"dead letters of {topic.names.main} are replayed")
    return (ApplyChild(replay_job(desired, topic), "missing", started),)


def _judge(desired: DesiredReplay, observed: ObservedReplay) -> Finding:
    topic = desired.topic
    if topic is None:
        name = desired.spec.mail_topic_ref.name
        return Finding("False", "MailTopicNotFound", f"there is no MailTopic {name} here")
    if observed.job is not None:
        return _judge_job(observed)
    if not topic.is_managed or topic.is_dry_run:
        return Finding("False", "MailTopicUnmanaged", "an annotation of the MailTopic forbids it")
    for failure in observed.failures:
        if failure.kind in {KubeProblemKind.FORBIDDEN, KubeProblemKind.REFUSED}:
            return stalled(str(failure.kind), f"{failure.target}: {failure.message}")
    return pending("Starting", "the replay is about to start")


def _judge_job(observed: ObservedReplay) -> Finding:
    conditions = ((observed.job or {}).get("status") or {}).get("conditions") or ()
    for condition in conditions:
        if condition["status"] != "True":
            continue
        if condition["type"] == "Complete":
            return good("Replayed", "every letter has been dealt with")
        if condition["type"] == "Failed":
            said = (observed.report or condition.get("message") or "").strip()
            return stalled("ReplayFailed", f"{said}; make another MailReplay to go on")
    return pending("Running", "the replay runs")


def read_progress(report: str | None) -> ReplayProgress | None:
    """Return the counts of a report; None if there is none, or it is something else."""
    try:
        found = json.loads(report or "")
        return ReplayProgress.model_validate(found)
    except (ValueError, ValidationError):
        return None


def _status(
    desired: DesiredReplay, observed: ObservedReplay, finding: Finding, now: datetime
) -> MailReplayStatus:
    old = desired.status
    is_over = finding.status == "True" or finding.reason == "ReplayFailed"
    started = old.start_time or (timestamp(now) if observed.job is not None else None)
    findings = {
        COMPLETE: finding,
        FAILED: _failed(finding),
        **progress([finding], is_acting=True),
    }
    return MailReplayStatus(
        observed_generation=desired.meta.generation,
        start_time=started,
        completion_time=timestamp(now) if is_over else None,
        progress=read_progress(observed.report) or old.progress,
        conditions=to_conditions(
            findings, old.conditions, generation=desired.meta.generation, now=now
        ),
    )


def _failed(finding: Finding) -> Finding:
    if finding.reason == "ReplayFailed":
        return Finding("True", finding.reason, finding.message)
    return Finding("False", "NoFailure", "")


def _patch(
    desired: DesiredReplay, status: MailReplayStatus, finding: Finding
) -> PatchStatus | None:
    if status == desired.status:
        return None
    old: Mapping[str, Any] = desired.status.to_object()
    was = desired.status.condition(COMPLETE)
    is_news = was is None or (was.status, was.reason) != (finding.status, finding.reason)
    events: tuple[Event, ...] = ()
    if is_news and not finding.is_progressing:
        is_good = finding.status == "True"
        event = Event("Normal" if is_good else "Warning", finding.reason, finding.message)
        events = (event,)
    new = status.to_object()
    return PatchStatus(new, {"status": merge_patch(old, new)}, events)
