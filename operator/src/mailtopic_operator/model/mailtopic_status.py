"""The status that the operator reports for a MailTopic."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field

from mailtopic_operator.model.base import Model
from mailtopic_operator.model.conditions import Condition

MAX_TOPICS = 32
"""The most topics in a status; of former retry tiers beyond that, the latest are dropped."""


def _is_moment(text: str) -> str:
    # The API server refuses other texts by the format; plans must be able to rely on it.
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("a time has a zone, such as 2026-01-31T12:00:00Z")
    return text


Moment = Annotated[
    str, Field(json_schema_extra={"format": "date-time"}), AfterValidator(_is_moment)
]


MAX_USERS = 8
"""The most users in a status; no more are created until one is removed."""


class TopicOrigin(StrEnum):
    """Where a topic comes from."""

    CREATING = "Creating"
    """Written before the operator requests its creation."""
    CREATED = "Created"
    ADOPTED = "Adopted"


class TopicStatus(Model):
    """A topic's state in Kafka."""

    name: Annotated[str, Field(max_length=249)]
    """The topic's name."""

    id: Annotated[str, Field(max_length=64)]
    """Kafka's id of it: a new one means that it was deleted and created again. Empty: not known
    yet, because the topic is about to be created.
    """

    partitions: int
    """Its partitions."""

    replication_factor: int
    """Copies of every partition."""

    recreated_at: Moment | None = None
    """When it was noticed that the topic had been recreated, without its earlier records."""

    origin: TopicOrigin | None = None
    """Creating and Created: by the operator, for this MailTopic; only such a topic is ever deleted.
    Adopted: it existed before, or was recreated by something else. Unset: from the time before the
    origin was recorded; such a topic is managed, but not deleted.
    """


class KafkaUserStatus(Model):
    """A user in Kafka that the operator created for this MailTopic, or is about to create."""

    name: Annotated[str, Field(max_length=253)]
    """The user's name."""

    unused_since: Moment | None = None
    """Since when no sender logs in as this user; it is removed a while later."""


class ConsumersStatus(Model):
    """The actual state of the senders."""

    replicas: int = 0
    """Pods that exist; shown by the scale subresource."""

    ready_replicas: int = 0
    """Pods that are ready to deliver."""

    ready: Annotated[str, Field(max_length=16)] = "0/0"
    """Ready and wanted senders, such as 2/2."""

    selector: Annotated[str, Field(max_length=512)] = ""
    """The label selector of the pods, for autoscalers."""


class LagStatus(Model):
    """Waiting mails. Written on large changes only."""

    records: int
    """Records of the main topic and the retry topics that no sender has completed."""

    seconds: int | None = None
    """How long the oldest of them has been waiting, in seconds."""

    sampled_at: Moment
    """When this was measured."""


class DeadLetterStatus(Model):
    """Mails that no attempt could deliver."""

    records: int
    """Records in the DLQ."""


class Source(StrEnum):
    """Where a relay's rate comes from."""

    LEARNED = "Learned"
    """The senders have met it."""
    RATE_LIMIT = "RateLimit"
    """It is set in the spec."""


class RelayStatus(Model):
    """How many mails a relay takes. Written on large changes only."""

    name: Annotated[str, Field(max_length=63)]
    """The relay's name."""

    mails_per_second: float
    """The most mails per second that all senders together hand to it, to two digits."""

    source: Source
    """Learned: by the senders. RateLimit: set by rateLimit, and the relay takes as much."""


class MailTopicStatus(Model):
    """The observed state."""

    observed_generation: int | None = None
    """The generation of the MailTopic that was observed."""

    topic: TopicStatus | None = None
    """The main topic's state in Kafka."""

    topics: Annotated[
        tuple[TopicStatus, ...],
        Field(
            max_length=MAX_TOPICS,
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
            },
        ),
    ] = ()
    """Every topic of the MailTopic, including those of former retry tiers."""

    kafka_users: Annotated[
        tuple[KafkaUserStatus, ...],
        Field(
            max_length=MAX_USERS,
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
            },
        ),
    ] = ()
    """The senders' users in Kafka, current and former; only these are ever removed."""

    consumers: ConsumersStatus | None = None
    """The actual state of the senders."""

    relays: Annotated[
        tuple[RelayStatus, ...],
        Field(
            max_length=8,
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
            },
        ),
    ] = ()
    """The relays with a known rate; one that takes all mails is not listed."""

    lag: LagStatus | None = None
    """Waiting mails."""

    dead_letter: DeadLetterStatus | None = None
    """Mails that no attempt could deliver."""

    plan: Annotated[tuple[Annotated[str, Field(max_length=512)], ...], Field(max_length=64)] = ()
    """With the annotation mailtopic.dev/dry-run: "true": the actions that are due but not done."""

    conditions: Annotated[
        tuple[Condition, ...],
        Field(
            max_length=16,
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["type"],
            },
        ),
    ] = ()
    """Ready sums up TopicsReady, SendersReady, CredentialsValid and, where users in Kafka are
    managed, KafkaUserReady. RelayHealthy, DeadLetterEmpty and Paused are informational.
    Reconciling: in progress. Stalled: only a person can fix it.
    """

    def condition(self, kind: str) -> Condition | None:
        """Return the condition of a type."""
        return next((each for each in self.conditions if each.type == kind), None)
