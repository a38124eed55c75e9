"""The topics of a MailTopic: their wanted state, and the actions that lead to it."""

import re
from collections.abc import Iterator, Mapping, Sequence

from mailtopic_contract import MAX_RECORD_BYTES, topic_config
from mailtopic_operator.domain.actions import (
    Action,
    AlterConfig,
    ClaimTopics,
    CreateTopic,
    Event,
    IncreasePartitions,
)
from mailtopic_operator.domain.desired import Desired
from mailtopic_operator.domain.kafka import ConfigChange, KafkaProblem, NewTopic, TopicState
from mailtopic_operator.domain.kafka import ProblemKind as Kind
from mailtopic_operator.domain.observed import Observed
from mailtopic_operator.model.base import duration_s
from mailtopic_operator.model.mailtopic_status import MAX_TOPICS, TopicOrigin, TopicStatus
from mailtopic_operator.model.topic_rules import THROTTLES

_MAX_BYTES = "max.message.bytes"
_RETENTION = "retention.ms"
_SIZE = re.compile("[0-9]{1,10}")
"""What Kafka may accept; for anything else, its own error explains the problem."""


def wanted_topics(desired: Desired, observed: Observed) -> tuple[NewTopic, ...]:
    """Return the wanted topics, the main one first.

    All have the same number of partitions, because a record keeps its partition number in each: if
    the main topic has more than the spec says, all others get as many.
    """
    main = observed.topics.get(desired.names.main)
    there = main.partitions if isinstance(main, TopicState) else 0
    partitions = max(desired.spec.topic.partitions, there)
    copies = desired.spec.topic.replication_factor or -1
    return tuple(
        NewTopic(name, partitions, copies, _config(desired, name)) for name in desired.names.all
    )


def _config(desired: Desired, name: str) -> dict[str, str]:
    names, spec = desired.names, desired.spec
    own = dict(spec.topic.config)
    size = own.pop(_MAX_BYTES, "")
    room = topic_config(
        names, name, max_record_bytes=int(size) if _SIZE.fullmatch(size) else MAX_RECORD_BYTES
    )
    config = own | room | {_RETENTION: str(_retention_ms(desired, name))}
    if name == names.main and size:
        config[_MAX_BYTES] = size
    return {key: value for key, value in config.items() if key not in _untouched(desired)}


def _retention_ms(desired: Desired, name: str) -> int:
    records_s = duration_s(desired.spec.topic.retention)
    dead_s = duration_s(desired.spec.dead_letter.retention)
    # A dead letter is only replayed if the status topic has no delivery of its mail.
    by_name = {desired.names.dlq: dead_s, desired.names.status: max(records_s, dead_s)}
    return by_name.get(name, records_s) * 1000


def _untouched(desired: Desired) -> frozenset[str]:
    """Config keys that are left unchanged."""
    return frozenset(desired.spec.topic.unmanaged_config).union(THROTTLES)


def is_missing(state: TopicState | KafkaProblem | None) -> bool:
    """Whether Kafka reports that the topic doesn't exist."""
    return state is None or (isinstance(state, KafkaProblem) and state.kind is Kind.MISSING)


def topic_actions(desired: Desired, observed: Observed) -> Iterator[Action]:
    """Yield the actions that make the topics as wanted; none for those Kafka doesn't describe."""
    known = desired.held_topics
    wanted = wanted_topics(desired, observed)
    missing = [topic for topic in wanted if is_missing(observed.topics.get(topic.name))]
    yield from _claim(desired, missing)
    for topic in wanted:
        state = observed.topics.get(topic.name)
        if is_missing(state):
            yield CreateTopic(topic, _created(topic, was_known=topic.name in known))
        elif isinstance(state, TopicState):
            yield from _corrections(desired, topic, state, is_known=topic.name in known)


def _claim(desired: Desired, missing: Sequence[NewTopic]) -> Iterator[ClaimTopics]:
    """Yield the action that writes topics into the status before they are created.

    After a crash in between, it shows the next plan which topics are the operator's own.
    """
    entries = {topic.name: topic for topic in desired.status.topics}
    new = [
        topic
        for topic in missing
        if topic.name not in entries or entries[topic.name].origin is not TopicOrigin.CREATING
    ]
    for topic in new:
        was = entries.get(topic.name)
        claim = TopicStatus(
            name=topic.name,
            id="",
            partitions=topic.partitions,
            replication_factor=topic.replication_factor,
        )
        entries[topic.name] = (was or claim).model_copy(update={"origin": TopicOrigin.CREATING})
    if new:
        ordered = [entries[name] for name in desired.topics if name in entries]
        topics = [entry.to_object() for entry in ordered[:MAX_TOPICS]]
        yield ClaimTopics(tuple(topic.name for topic in new), {"status": {"topics": topics}})


def _corrections(
    desired: Desired, topic: NewTopic, state: TopicState, *, is_known: bool
) -> Iterator[Action]:
    if state.partitions < topic.partitions:
        message = f"{state.partitions} → {topic.partitions} partitions"
        event = Event("Normal", "PartitionsIncreased", message, topic.name)
        yield IncreasePartitions(topic.name, topic.partitions, event)
    change = config_change(topic, state.config, _untouched(desired))
    if change is not None:
        yield AlterConfig(change, _altered(desired, change, is_known=is_known))


def config_change(
    topic: NewTopic, config: Mapping[str, str], untouched: frozenset[str]
) -> ConfigChange | None:
    """Return the change to a topic's wanted configuration; None if there is none to make."""
    to_set = {key: value for key, value in topic.config.items() if config.get(key) != value}
    to_remove = tuple(sorted(config.keys() - topic.config.keys() - untouched))
    return ConfigChange(topic.name, to_set, to_remove) if to_set or to_remove else None


def _created(topic: NewTopic, *, was_known: bool) -> Event:
    if was_known:
        return Event("Warning", "TopicLost", "was gone and is created again, empty", topic.name)
    message = f"created with {topic.partitions} partitions"
    return Event("Normal", "TopicCreated", message, topic.name)


def _altered(desired: Desired, change: ConfigChange, *, is_known: bool) -> Event:
    keys = ", ".join(sorted({*change.set, *change.remove}))
    if not is_known:
        return Event("Normal", "TopicAdopted", f"topic {change.name}, changed: {keys}")
    if desired.status.observed_generation == desired.meta.generation:
        message = f"topic {change.name} was changed: {keys}; put back"
        return Event("Warning", "DriftCorrected", message)
    return Event("Normal", "ConfigChanged", f"topic {change.name}: {keys}")
