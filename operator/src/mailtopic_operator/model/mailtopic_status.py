"""What the operator reports of a MailTopic."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field

from mailtopic_operator.model.base import Model
from mailtopic_operator.model.conditions import Condition

MAX_TOPICS = 32
"""Topics that a status tells of; of former retry tiers beyond that, the latest are let go of."""


def _is_moment(text: str) -> str:
    # The API server refuses other texts by the format; plans must be able to rely on that.
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("a time has a zone, such as 2026-01-31T12:00:00Z")
    return text


Moment = Annotated[
    str, Field(json_schema_extra={"format": "date-time"}), AfterValidator(_is_moment)
]


class TopicOrigin(StrEnum):
    """Where a topic comes from."""

    CREATING = "Creating"
    """Written before the operator asks Kafka to create it."""
    CREATED = "Created"
    ADOPTED = "Adopted"


class TopicStatus(Model):
    """A topic as Kafka has it."""

    name: Annotated[str, Field(max_length=249)]
    """The topic's name."""

    id: Annotated[str, Field(max_length=64)]
    """Kafka's id of it: another one means that it was deleted and made again. Empty: not known yet,
    because the topic is about to be created.
    """

    partitions: int
    """Its partitions."""

    replication_factor: int
    """Copies of every partition."""

    recreated_at: Moment | None = None
    """When it was noticed that the topic had been made again, without what was in it before."""

    origin: TopicOrigin | None = None
    """Creating and Created: by the operator, for this MailTopic; only such a topic is ever deleted.
    Adopted: it existed before, or something else made it again. Unset: from the time before the
    origin was recorded; such a topic is managed, and not deleted.
    """


class ConsumersStatus(Model):
    """The senders as they are."""

    replicas: int = 0
    """Pods that exist; the scale subresource shows it."""

    ready_replicas: int = 0
    """Pods that are ready to deliver."""

    ready: Annotated[str, Field(max_length=16)] = "0/0"
    """Ready and wanted senders, such as 2/2."""

    selector: Annotated[str, Field(max_length=512)] = ""
    """The label selector of the pods, for autoscalers."""


class LagStatus(Model):
    """Mails that wait. Written when it changes much, not each time it changes."""

    records: int
    """Records of the main topic and the retry topics that no sender has completed."""

    seconds: int | None = None
    """How long the oldest of them has been waiting, seconds."""

    sampled_at: Moment
    """When this was measured."""


class DeadLetterStatus(Model):
    """Mails that no attempt could deliver."""

    records: int
    """Records in the DLQ."""


class Source(StrEnum):
    """Where a relay's rate is from."""

    LEARNED = "Learned"
    """The senders met it."""
    RATE_LIMIT = "RateLimit"
    """The spec says it."""


class RelayStatus(Model):
    """How many mails a relay takes. Written when it changes much, not each time it changes."""

    name: Annotated[str, Field(max_length=63)]
    """The relay's name."""

    mails_per_second: float
    """Mails a second that all senders together hand to it at most, to two digits."""

    source: Source
    """Learned: that was found out. RateLimit: rateLimit says so, and the relay takes as much."""


class MailTopicStatus(Model):
    """What the operator found."""

    observed_generation: int | None = None
    """The generation of the MailTopic that this is about."""

    topic: TopicStatus | None = None
    """The main topic as Kafka has it."""

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
    """Every topic of the MailTopic, those of former retry tiers among them."""

    consumers: ConsumersStatus | None = None
    """The senders as they are."""

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
    """The relays whose pace is known; one that takes all that comes is missing."""

    lag: LagStatus | None = None
    """Mails that wait."""

    dead_letter: DeadLetterStatus | None = None
    """Mails that no attempt could deliver."""

    plan: Annotated[tuple[Annotated[str, Field(max_length=512)], ...], Field(max_length=64)] = ()
    """With the annotation mailtopic.dev/dry-run: "true": what would be done. Nothing is done."""

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
    """Ready sums up TopicsReady, SendersReady and CredentialsValid. RelayHealthy, DeadLetterEmpty
    and Paused inform. Reconciling: not there yet. Stalled: only a person can help.
    """

    def condition(self, kind: str) -> Condition | None:
        """Return the condition of a type."""
        return next((each for each in self.conditions if each.type == kind), None)
