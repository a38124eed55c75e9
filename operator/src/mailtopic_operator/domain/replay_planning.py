"""plan_replay(desired, observed, now): all of the operator's decisions about a MailReplay."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from pydantic import ValidationError

from mailtopic_operator.domain.actions import ApplyChild, Event, PatchStatus, Plan
from mailtopic_operator.domain.conditions import TOPICS, to_conditions
from mailtopic_operator.domain.desired import Desired, Meta
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
_ENDED: Final = frozenset({"Replayed", "Counted", "ReplayFailed"})
_RUNNING: Final = "Running"
_COUNTS: Final = frozenset(ReplayProgress.model_fields)


def plan_replay(desired: DesiredReplay, observed: ObservedReplay, now: datetime) -> Plan:
    """Return what to do about a MailReplay. Pure. One that has ended is never changed again."""
    if desired.meta.deleting_since is not None or has_ended(desired.status):
        return Plan()
    topic, obstacle = desired.topic, _obstacle(desired, observed)
    is_due = topic is not None and obstacle is None and observed.job is None
    due = (_start(desired, topic),) if is_due and topic is not None else ()
    finding = _judge_job(desired, observed) or obstacle or _judge_start(observed)
    status = _status(desired, observed, finding, now)
    retry_s = _RETRY_S if observed.failures else None
    return Plan(due, _patch(desired.status, status, finding), retry_s)


def plan_invalid_replay(body: Mapping[str, Any], problem: str, now: datetime) -> Plan:
    """Return what to do about a MailReplay that can't be parsed: nothing but report it.

    An API server with our CRD refuses it; one with an older CRD may not.

    Args:
        body: the object from the API server.
        problem: what is wrong, without quoting the input.
        now: the current time.
    """
    try:
        old = MailReplayStatus.model_validate(body.get("status") or {})
    except ValidationError:
        return Plan()  # whether it has ended is unknown; its status is left unchanged
    if has_ended(old):
        return Plan()
    advice = "make a correct one, and install the CRDs of this operator's version"
    finding = stalled("InvalidSpec", f"{problem}: {advice}")
    new = _with_conditions(old, finding, Meta.parse(body).generation, now)
    return Plan(status=_patch(old, new, finding))


def has_ended(status: MailReplayStatus) -> bool:
    """Whether the replay has ended, successfully or not."""
    found = (status.condition(kind) for kind in (COMPLETE, FAILED))
    return any(condition is not None and condition.status == "True" for condition in found)


def _start(desired: DesiredReplay, topic: Desired) -> ApplyChild:
    verb = "counted" if desired.spec.dry_run else "replayed"
    started = Event("Normal", "ReplayStarted", f"dead letters of {topic.names.main} are {verb}")
    return ApplyChild(replay_job(desired, topic), "missing", started)


def _obstacle(desired: DesiredReplay, observed: ObservedReplay) -> Finding | None:
    """Return why no Job may be started now; None if one may."""
    return _obstacle_of_topic(desired) or _obstacle_of_replays(desired, observed)


def _obstacle_of_topic(desired: DesiredReplay) -> Finding | None:
    name = desired.spec.mail_topic_ref.name
    topic = desired.topic
    if topic is None or topic.meta.deleting_since is not None:
        return Finding("False", "MailTopicNotFound", f"there is no MailTopic {name} here")
    if not topic.is_managed or topic.is_dry_run:
        message = f"an annotation of MailTopic {name} forbids changes"
        return Finding("False", "MailTopicUnmanaged", message)
    if topic.spec.paused:
        message = f"the replay starts when spec.paused of MailTopic {name} is false"
        return Finding("False", "MailTopicPaused", message)
    ready = topic.status.condition(TOPICS)
    if ready is None or ready.status != "True":
        # A topic may belong to another MailTopic: then its dead letters aren't ours.
        return pending("WaitingForTopics", f"the replay starts when topics of {name} are ready")
    return None


def _obstacle_of_replays(desired: DesiredReplay, observed: ObservedReplay) -> Finding | None:
    if observed.ahead is not None:
        message = f"the replay starts when MailReplay {observed.ahead} has ended, or is deleted"
        return pending("WaitingForReplay", message)
    if observed.is_name_taken:
        message = f"{desired.job} is of another MailReplay; this one starts when it has gone"
        return pending("WaitingForName", message)
    return None


def _judge_start(observed: ObservedReplay) -> Finding:
    for failure in observed.failures:
        if failure.kind in {KubeProblemKind.FORBIDDEN, KubeProblemKind.REFUSED}:
            return stalled(str(failure.kind), f"{failure.target}: {failure.message}")
    return pending("Starting", "the replay is about to start")


def _judge_job(desired: DesiredReplay, observed: ObservedReplay) -> Finding | None:
    if observed.job is None:
        return None
    status = observed.job.get("status") or {}
    for condition in status.get("conditions") or ():
        if condition["status"] != "True":
            continue
        if condition["type"] == "Complete":
            return _completed(desired, observed)
        if condition["type"] == "Failed":
            said = _words(observed) or condition.get("message") or "the Job failed"
            return stalled("ReplayFailed", f"{said}; make another MailReplay to go on")
    return _judge_running(desired, observed, status)


def _completed(desired: DesiredReplay, observed: ObservedReplay) -> Finding:
    counts = read_progress(observed.report)
    if desired.spec.dry_run:
        told = f": {counts.replayed} of {counts.matched} mails would be replayed" if counts else ""
        return good("Counted", f"nothing was replayed{told}")
    told = f": {counts.replayed} of {counts.matched} mails replayed" if counts else ""
    return good("Replayed", f"every letter has been dealt with{told}")


def _judge_running(
    desired: DesiredReplay, observed: ObservedReplay, status: Mapping[str, Any]
) -> Finding:
    failed = status.get("failed", 0)
    if failed:
        said = _words(observed) or "nothing"
        return pending(_RUNNING, f"run {failed + 1}; the one before it said: {said}")
    was = desired.status.condition(COMPLETE)
    # A pod that has just ended is as unready as one that hasn't started.
    if status.get("ready") or status.get("succeeded") or (was and was.reason == _RUNNING):
        return pending(_RUNNING, "the replay runs; counts follow when it has ended")
    return pending("Starting", f"no pod of {desired.job} runs yet: see `kubectl describe`")


def read_progress(report: str | None) -> ReplayProgress | None:
    """Return the counts of a report; None if there is none or it isn't a report."""
    try:
        found = json.loads(report or "")
        # The output of a failing program may be JSON as well.
        is_report = isinstance(found, dict) and found.keys() >= _COUNTS
        return ReplayProgress.model_validate(found) if is_report else None
    except (ValueError, ValidationError):
        return None


def _words(observed: ObservedReplay) -> str:
    """Return the output of the last run, if it was no report."""
    return "" if read_progress(observed.report) else (observed.report or "").strip()


def _status(
    desired: DesiredReplay, observed: ObservedReplay, finding: Finding, now: datetime
) -> MailReplayStatus:
    old = desired.status
    started = old.start_time or (timestamp(now) if observed.job is not None else None)
    new = old.model_copy(
        update={
            "start_time": started,
            "completion_time": timestamp(now) if finding.reason in _ENDED else None,
            "progress": read_progress(observed.report) or old.progress,
        }
    )
    return _with_conditions(new, finding, desired.meta.generation, now)


def _with_conditions(
    status: MailReplayStatus, finding: Finding, generation: int, now: datetime
) -> MailReplayStatus:
    findings = {
        COMPLETE: finding,
        FAILED: _failed(finding),
        **progress([finding], is_acting=True),
    }
    made = to_conditions(findings, status.conditions, generation=generation, now=now)
    return status.model_copy(update={"observed_generation": generation, "conditions": made})


def _failed(finding: Finding) -> Finding:
    if finding.reason == "ReplayFailed":
        return Finding("True", finding.reason, finding.message)
    return Finding("False", "NoFailure", "")


def _patch(old: MailReplayStatus, new: MailReplayStatus, finding: Finding) -> PatchStatus | None:
    if new == old:
        return None
    was = old.condition(COMPLETE)
    is_news = was is None or (was.status, was.reason) != (finding.status, finding.reason)
    events: tuple[Event, ...] = ()
    if is_news and not finding.is_progressing:
        is_good = finding.status == "True"
        event = Event("Normal" if is_good else "Warning", finding.reason, finding.message)
        events = (event,)
    before, after = old.to_object(), new.to_object()
    return PatchStatus(after, {"status": merge_patch(before, after)}, events)
