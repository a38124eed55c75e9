"""Kafka's view of topics, and the requests that can be made."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class ProblemKind(StrEnum):
    """Why Kafka didn't carry out a request."""

    UNAVAILABLE = "Unavailable"
    """No broker answered, or none can do it now: it is tried again."""
    NOT_AUTHORISED = "NotAuthorised"
    """The operator's user may not do it."""
    NOT_SUPPORTED = "NotSupported"
    """These brokers don't support it, such as deleting while delete.topic.enable=false."""
    POLICY = "Policy"
    """A policy of the cluster refuses it."""
    INVALID = "Invalid"
    """Kafka refuses what the MailTopic asks for, such as an unknown config key."""
    MISSING = "Missing"
    """The topic doesn't exist (any more)."""
    EXISTS = "Exists"
    """The topic exists already."""
    NO_AUTHORIZER = "NoAuthorizer"
    """The brokers check no ACLs."""


@dataclass(frozen=True, slots=True)
class KafkaProblem:
    """One request about one topic that was not carried out; the message is one line."""

    kind: ProblemKind
    message: str


@dataclass(frozen=True, slots=True)
class TopicState:
    """The actual state of a topic.

    Attributes:
        topic_id: changes when a topic is deleted and created again under the same name.
        config: what is set on the topic itself, without the brokers' defaults.
    """

    name: str
    topic_id: str
    partitions: int
    replication_factor: int
    config: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NewTopic:
    """A topic to be created; replication_factor -1 is the brokers' default."""

    name: str
    partitions: int
    replication_factor: int
    config: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """Config keys of one topic to set, and keys to reset to the brokers' default."""

    name: str
    set: Mapping[str, str] = field(default_factory=dict)
    remove: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Backlog:
    """Records that wait in a topic.

    Attributes:
        records: how many.
        is_known: False if the group has never committed: the whole topic counts then.
    """

    records: int
    is_known: bool = True


@dataclass(frozen=True, slots=True, order=True)
class Acl:
    """What one user may do with one resource, by Kafka's names.

    Attributes:
        resource: such as TOPIC, GROUP, TRANSACTIONAL_ID, BROKER.
        operation: such as READ, WRITE, DESCRIBE_CONFIGS.
        pattern: LITERAL or PREFIXED.
        permission: ALLOW or DENY.
    """

    resource: str
    name: str
    operation: str
    pattern: str = "LITERAL"
    host: str = "*"
    permission: str = "ALLOW"


@dataclass(frozen=True, slots=True)
class UserState:
    """The actual state of a user that logs in by SCRAM.

    Attributes:
        iterations: of the stored password; None if the user has none.
        acls: everything that names the user itself, not a group of users.
    """

    iterations: int | None = None
    acls: frozenset[Acl] = frozenset()

    @property
    def is_absent(self) -> bool:
        """Whether Kafka stores nothing about the user."""
        return self.iterations is None and not self.acls
