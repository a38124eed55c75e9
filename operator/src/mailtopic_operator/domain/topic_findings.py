"""Whether the topics are as wanted, and what to do where that can't be achieved."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from mailtopic_operator.domain.actions import Action, Side, target
from mailtopic_operator.domain.contest import contested
from mailtopic_operator.domain.desired import Desired
from mailtopic_operator.domain.findings import Finding, good, listing, pending, stalled
from mailtopic_operator.domain.kafka import KafkaProblem, ProblemKind, TopicState
from mailtopic_operator.domain.observed import Observed
from mailtopic_operator.domain.topic_statuses import topic_statuses
from mailtopic_operator.domain.topics import is_missing, wanted_topics

RECREATION_SHOWN: Final = timedelta(hours=1)
"""How long TopicsReady reports that a topic was recreated."""

_REFUSALS: Final = {
    ProblemKind.NOT_AUTHORISED: (
        "NotAuthorised",
        "allow the operator's user Create, Delete, Describe, Alter, DescribeConfigs, AlterConfigs",
    ),
    ProblemKind.POLICY: ("PolicyViolation", "a policy of the brokers refuses it"),
    ProblemKind.INVALID: ("InvalidTopic", "correct spec.topic"),
    ProblemKind.NOT_SUPPORTED: ("NotSupported", "these brokers don't do it"),
}


def judge_topics(
    desired: Desired, observed: Observed, actions: Sequence[Action], now: datetime
) -> Finding:
    """Return the finding for TopicsReady; actions are those that are due."""
    return (
        _unavailable(observed)
        or _refused(observed, actions)
        or _beyond_kafka(desired, observed)
        or contested(observed, actions, now, where=Side.KAFKA)
        or _unfinished(desired, observed, actions)
        or _made_again(desired, observed, now)
        or good("AsSpecified", f"{len(desired.names.all)} topics are as specified")
    )


def _unavailable(observed: Observed) -> Finding | None:
    problems = [p for p in observed.topics.values() if isinstance(p, KafkaProblem)]
    away = next((p for p in problems if p.kind is ProblemKind.UNAVAILABLE), None)
    if away is None:
        return None
    return Finding("Unknown", "KafkaUnavailable", away.message, is_progressing=True)


def _refused(observed: Observed, actions: Sequence[Action]) -> Finding | None:
    """What Kafka doesn't let us see or do; past refusals count while the action is still due."""
    due = {target(action) for action in actions}
    told = [(f.target, f.kind, f.message) for f in observed.failures if f.target in due]
    told += [
        (name, problem.kind, problem.message)
        for name, problem in sorted(observed.topics.items())
        if isinstance(problem, KafkaProblem)
    ]
    for name, kind, message in told:
        if isinstance(kind, ProblemKind) and kind in _REFUSALS:
            reason, advice = _REFUSALS[kind]
            return stalled(reason, f"topic {name}: {message}; {advice}")
    away = [(name, message) for name, kind, message in told if kind is ProblemKind.UNAVAILABLE]
    return pending("KafkaUnavailable", f"topic {away[0][0]}: {away[0][1]}") if away else None


def _beyond_kafka(desired: Desired, observed: Observed) -> Finding | None:
    """What Kafka can't change: fewer partitions, another replication factor."""
    spec = desired.spec.topic
    states = [observed.topics.get(name) for name in desired.names.all]
    there = [state for state in states if isinstance(state, TopicState)]
    for state in there:
        if state.partitions > spec.partitions:
            return stalled(
                "PartitionsExceedSpec",
                f"topic {state.name} has {state.partitions} partitions, and Kafka can't take any"
                f" away: write partitions: {state.partitions} into spec.topic",
            )
    for state in there:
        wanted = spec.replication_factor
        if wanted is not None and state.replication_factor != wanted:
            return stalled(
                "ReplicationFactorMismatch",
                f"topic {state.name} has {state.replication_factor} copies instead of {wanted}:"
                " move them with kafka-reassign-partitions",
            )
    return None


def _unfinished(desired: Desired, observed: Observed, actions: Sequence[Action]) -> Finding | None:
    due = {target(action) for action in actions}
    topics = [topic.name for topic in wanted_topics(desired, observed)]
    missing = [name for name in topics if is_missing(observed.topics.get(name))]
    if missing:
        return pending("TopicsMissing", f"to be created: {listing(missing)}")
    differing = [name for name in topics if name in due]
    return pending("TopicsDiffer", f"to be changed: {listing(differing)}") if differing else None


def _made_again(desired: Desired, observed: Observed, now: datetime) -> Finding | None:
    for topic in topic_statuses(desired, observed, now):
        if topic.recreated_at is None:
            continue
        when = datetime.fromisoformat(topic.recreated_at)
        if now - when < RECREATION_SHOWN:
            return good(
                "TopicRecreated",
                f"topic {topic.name} was deleted and made again by {topic.recreated_at}: what was"
                " in it is gone",
            )
    return None
