"""What Kafka says about topics, and what it can be asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class ProblemKind(StrEnum):
    """Why Kafka didn't do what it was asked for."""

    UNAVAILABLE = "Unavailable"
    """Nobody answered, or nobody can do it at the moment: it is tried again."""
    NOT_AUTHORISED = "NotAuthorised"
    """The operator's user may not do it."""
    NOT_SUPPORTED = "NotSupported"
    """These brokers don't do it at all, such as deleting while delete.topic.enable=false."""
    POLICY = "Policy"
    """A policy of the cluster refuses it."""
    INVALID = "Invalid"
    """Kafka refuses what the MailTopic asks for, such as an unknown config key."""
    MISSING = "Missing"
    """The topic isn't there (any more)."""
    EXISTS = "Exists"
    """The topic is there already."""


@dataclass(frozen=True, slots=True)
class KafkaProblem:
    """One request about one topic that was not carried out; the message is one line."""

    kind: ProblemKind
    message: str


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic as it is.

    Attributes:
        topic_id: changes when a topic is deleted and made again under the same name.
        config: what is set on the topic itself; the brokers' defaults are not in it.
    """

    name: str
    topic_id: str
    partitions: int
    replication_factor: int
    config: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NewTopic:
    """A topic to be made; replication_factor -1 is the brokers' default."""

    name: str
    partitions: int
    replication_factor: int
    config: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """Config keys of one topic to be set and to be brought back to the brokers' default."""

    name: str
    set: Mapping[str, str] = field(default_factory=dict)
    remove: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Backlog:
    """Records that wait in a topic.

    Attributes:
        records: how many.
        is_known: False where the group has never committed: all of the topic counts then.
    """

    records: int
    is_known: bool = True
