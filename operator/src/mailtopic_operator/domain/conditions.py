"""Conditions of findings, and the events that tell of their transitions."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from mailtopic_operator.domain.actions import Event
from mailtopic_operator.domain.findings import Finding
from mailtopic_operator.model.conditions import Condition

READY: Final = "Ready"
TOPICS: Final = "TopicsReady"
SENDERS: Final = "SendersReady"
CREDENTIALS: Final = "CredentialsValid"
RELAYS: Final = "RelayHealthy"
DEAD_LETTERS: Final = "DeadLetterEmpty"
PAUSED: Final = "Paused"
RECONCILING: Final = "Reconciling"
STALLED: Final = "Stalled"

_TOLD: Final = (READY, TOPICS, SENDERS, CREDENTIALS, RELAYS, DEAD_LETTERS)
"""Conditions whose transitions become events."""

_QUIET: Final = frozenset({"NotMeasured", "Unmanaged"})
_MESSAGE_LENGTH: Final = 2048


def timestamp(moment: datetime) -> str:
    """Return a time as Kubernetes writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def to_conditions(
    findings: Mapping[str, Finding],
    old: Sequence[Condition],
    *,
    generation: int,
    now: datetime,
) -> tuple[Condition, ...]:
    """Return the conditions of findings by type; the transition time moves with the status only."""
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
    """Yield an event for each condition that got worse, and one when all is well again.

    What is on its way without help is not told of: it would be an event for every step.
    """
    before = {condition.type: condition for condition in old}
    told: set[str] = set()
    for kind in reversed(_TOLD):
        finding, was = findings.get(kind), before.get(kind)
        if finding is None or _is_as_before(finding, was) or finding.reason in told | _QUIET:
            continue
        if kind == READY and finding.status == "True":
            yield Event("Normal", "Ready", finding.message)
        elif _is_bad(finding) or finding.reason == "TopicRecreated":
            told.add(finding.reason)
            yield Event("Warning", finding.reason, finding.message)


def _is_as_before(finding: Finding, was: Condition | None) -> bool:
    return was is not None and (was.status, was.reason) == (finding.status, finding.reason)


def _is_bad(finding: Finding) -> bool:
    is_away = finding.reason in {"KafkaUnavailable", "ApiUnavailable"}
    return finding.status != "True" and (is_away or not finding.is_progressing)
