"""Conditions from findings, and the events for their transitions."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from mailtopic_operator.domain.actions import Event
from mailtopic_operator.domain.findings import Finding
from mailtopic_operator.domain.times import timestamp
from mailtopic_operator.model.conditions import Condition

READY: Final = "Ready"
TOPICS: Final = "TopicsReady"
SENDERS: Final = "SendersReady"
CREDENTIALS: Final = "CredentialsValid"
KAFKA_USER: Final = "KafkaUserReady"
RELAYS: Final = "RelayHealthy"
DEAD_LETTERS: Final = "DeadLetterEmpty"
PAUSED: Final = "Paused"
RECONCILING: Final = "Reconciling"
STALLED: Final = "Stalled"

_PARTS: Final = (TOPICS, CREDENTIALS, KAFKA_USER, SENDERS, RELAYS, DEAD_LETTERS)
"""Conditions with transitions that become events, besides Ready."""

_ALWAYS_TOLD: Final = frozenset({"KafkaUnavailable", "ApiUnavailable", "TopicRecreated"})
_NEVER_TOLD: Final = frozenset({"NotMeasured", "WaitingForCredentials"})
_MESSAGE_LENGTH: Final = 2048


def to_conditions(
    findings: Mapping[str, Finding],
    old: Sequence[Condition],
    *,
    generation: int,
    now: datetime,
) -> tuple[Condition, ...]:
    """Return the conditions for findings by type; only a new status moves the transition time."""
    before = {condition.type: condition for condition in old}
    return tuple(
        Condition(
            type=kind,
            status=finding.status,
            reason=finding.reason,
            message=finding.message[:_MESSAGE_LENGTH],
            last_transition_time=_since(before.get(kind), finding, now),
            observed_generation=generation,
        )
        for kind, finding in findings.items()
    )


def _since(old: Condition | None, finding: Finding, now: datetime) -> str:
    if old is not None and old.status == finding.status:
        return old.last_transition_time
    return timestamp(now)


def transitions(findings: Mapping[str, Finding], old: Sequence[Condition]) -> Iterator[Event]:
    """Yield an event for each condition that got worse, and one when all are good again.

    Progress without help is not reported: it would be an event for every step.
    """
    before = {condition.type: condition for condition in old}
    parts = {findings[kind].reason for kind in _PARTS if kind in findings}
    for kind in (*_PARTS, READY):
        finding = findings.get(kind)
        if finding is None or _is_as_before(finding, before.get(kind)):
            continue
        if kind == READY and finding.status == "True":
            yield Event("Normal", "Ready", finding.message)
        # Ready repeats what one of its parts has already reported.
        elif _is_bad(finding) and not (kind == READY and finding.reason in parts):
            yield Event("Warning", finding.reason, finding.message)


def _is_as_before(finding: Finding, was: Condition | None) -> bool:
    return was is not None and (was.status, was.reason) == (finding.status, finding.reason)


def _is_bad(finding: Finding) -> bool:
    if finding.reason in _ALWAYS_TOLD | _NEVER_TOLD:
        return finding.reason in _ALWAYS_TOLD
    return finding.status != "True" and not finding.is_progressing
