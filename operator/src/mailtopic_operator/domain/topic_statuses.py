"""Topics as the status shows them: what Kafka says, and what is remembered of it."""

from datetime import datetime

from mailtopic_operator.domain.desired import Desired
from mailtopic_operator.domain.kafka import TopicState
from mailtopic_operator.domain.observed import Observed
from mailtopic_operator.domain.times import timestamp
from mailtopic_operator.domain.topics import is_missing
from mailtopic_operator.model.mailtopic_status import MAX_TOPICS, TopicStatus


def topic_statuses(desired: Desired, observed: Observed, now: datetime) -> tuple[TopicStatus, ...]:
    """Return the topics, current and former; one that comes back with another id is noticed."""
    old = {topic.name: topic for topic in desired.status.topics}
    current = set(desired.names.all)
    found = []
    for name in desired.topics:
        state, was = observed.topics.get(name), old.get(name)
        if isinstance(state, TopicState):
            found.append(_topic(state, was, now))
        elif was is not None and (name in current or not is_missing(state)):
            found.append(was)
    return tuple(found[:MAX_TOPICS])


def _topic(state: TopicState, was: TopicStatus | None, now: datetime) -> TopicStatus:
    recreated_at = was.recreated_at if was else None
    if was is not None and was.id != state.topic_id:
        recreated_at = timestamp(now)
    return TopicStatus(
        name=state.name,
        id=state.topic_id,
        partitions=state.partitions,
        replication_factor=state.replication_factor,
        recreated_at=recreated_at,
    )
