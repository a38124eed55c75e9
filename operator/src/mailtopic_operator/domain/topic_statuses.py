"""Topics as the status shows them: Kafka's current answer and earlier ones."""

from datetime import datetime

from mailtopic_operator.domain.desired import Desired
from mailtopic_operator.domain.kafka import NewTopic, ProblemKind, TopicState
from mailtopic_operator.domain.naming import may_adopt
from mailtopic_operator.domain.observed import Observed
from mailtopic_operator.domain.times import timestamp
from mailtopic_operator.domain.topics import is_missing, wanted_topics
from mailtopic_operator.model.mailtopic_status import MAX_TOPICS, TopicOrigin, TopicStatus


def topic_statuses(desired: Desired, observed: Observed, now: datetime) -> tuple[TopicStatus, ...]:
    """Return the topics, current and former; one with a new id counts as recreated.

    A topic that exists and is neither in the status nor adopted is foreign: it is left out.
    """
    old = {topic.name: topic for topic in desired.status.topics}
    wanted = {topic.name: topic for topic in wanted_topics(desired, observed)}
    found = []
    for name in desired.topics:
        state, was = observed.topics.get(name), old.get(name)
        if isinstance(state, TopicState):
            if _is_ours(desired, wanted.get(name), state, was):
                found.append(_topic(wanted.get(name), state, was, now))
        elif was is not None and is_missing(state):
            left = _without_topic(was, observed) if name in wanted else None
            found += [left] if left is not None else []
        elif was is not None:
            found.append(was)
    return tuple(found[:MAX_TOPICS])


def foreign_topics(desired: Desired, observed: Observed) -> tuple[str, ...]:
    """Return the current topics that exist and aren't this MailTopic's."""
    old = {topic.name: topic for topic in desired.status.topics}
    return tuple(
        topic.name
        for topic in wanted_topics(desired, observed)
        if isinstance(state := observed.topics.get(topic.name), TopicState)
        and not _is_ours(desired, topic, state, old.get(topic.name))
    )


def created_topics(desired: Desired, observed: Observed) -> frozenset[str]:
    """Return the topics that the operator created for this MailTopic; only these may be deleted."""
    wanted = {topic.name: topic for topic in wanted_topics(desired, observed)}
    found = set()
    for was in desired.status.topics:
        state, origin = observed.topics.get(was.name), was.origin
        if isinstance(state, TopicState):
            is_ours = _is_ours(desired, wanted.get(was.name), state, was)
            origin = _origin(wanted.get(was.name), state, was) if is_ours else None
        if origin in {TopicOrigin.CREATED, TopicOrigin.CREATING}:
            found.add(was.name)
    return frozenset(found)


def _is_ours(
    desired: Desired, wanted: NewTopic | None, state: TopicState, was: TopicStatus | None
) -> bool:
    if was is not None and (was.id or _is_as_asked(wanted, state)):
        return True
    return may_adopt(desired)


def _is_as_asked(wanted: NewTopic | None, state: TopicState) -> bool:
    """Whether a topic is as the operator requested it.

    After a crash nothing else distinguishes its topic from one that was created elsewhere
    meanwhile.
    """
    return (
        wanted is not None
        and state.partitions == wanted.partitions
        and all(state.config.get(key) == value for key, value in wanted.config.items())
    )


def _topic(
    wanted: NewTopic | None, state: TopicState, was: TopicStatus | None, now: datetime
) -> TopicStatus:
    recreated_at = was.recreated_at if was else None
    is_other = was is not None and was.id not in {"", state.topic_id}
    if is_other:
        recreated_at = timestamp(now)
    return TopicStatus(
        name=state.name,
        id=state.topic_id,
        partitions=state.partitions,
        replication_factor=state.replication_factor,
        recreated_at=recreated_at,
        origin=_origin(wanted, state, was),
    )


def _origin(
    wanted: NewTopic | None, state: TopicState, was: TopicStatus | None
) -> TopicOrigin | None:
    if was is None:
        return TopicOrigin.ADOPTED
    if was.origin is TopicOrigin.CREATING:
        # With the old id it existed all the time, but wasn't visible.
        is_made = was.id != state.topic_id and _is_as_asked(wanted, state)
        return TopicOrigin.CREATED if is_made else TopicOrigin.ADOPTED
    return was.origin if was.id == state.topic_id else TopicOrigin.ADOPTED


def _without_topic(was: TopicStatus, observed: Observed) -> TopicStatus | None:
    """Return the status of a missing topic.

    If Kafka has refused to create it, a later topic with its name isn't the operator's.
    """
    if was.origin is not TopicOrigin.CREATING or not _was_refused(was.name, observed):
        return was
    return was.model_copy(update={"origin": TopicOrigin.ADOPTED}) if was.id else None


def _was_refused(name: str, observed: Observed) -> bool:
    return any(
        failure.target == name
        and isinstance(failure.kind, ProblemKind)
        and failure.kind not in {ProblemKind.UNAVAILABLE, ProblemKind.EXISTS}
        for failure in observed.failures
    )
