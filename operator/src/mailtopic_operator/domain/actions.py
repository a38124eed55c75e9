"""What the operator may do. Every action is idempotent."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Literal

from mailtopic_operator.domain.kafka import Acl, ConfigChange, NewTopic
from mailtopic_operator.domain.observed import ChildRef


@dataclass(frozen=True, slots=True)
class Event:
    """A Kubernetes Event about a resource, written once its action has succeeded.

    Attributes:
        about: the object it names, if equal events may exist for others: they are merged into one
            that names them all.
    """

    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    about: str = ""


@dataclass(frozen=True, slots=True)
class AddFinalizer:
    """Add FINALIZER to the MailTopic, before anything exists that it protects."""

    event: Event | None = None


@dataclass(frozen=True, slots=True)
class RemoveFinalizer:
    """Remove FINALIZER, so that a deletion completes. An absent MailTopic is a success."""

    event: Event | None = None


@dataclass(frozen=True, slots=True)
class ClaimTopics:
    """Write into the status that topics are about to be created; if that fails, they aren't.

    Attributes:
        patch: the JSON merge patch of the status subresource.
    """

    names: tuple[str, ...]
    patch: Mapping[str, Any]
    event: Event | None = None


@dataclass(frozen=True, slots=True)
class CreateTopic:
    """Create a topic. If it exists already, that is a success: the next plan compares it."""

    topic: NewTopic
    event: Event | None = None


@dataclass(frozen=True, slots=True)
class IncreasePartitions:
    """Raise a topic's partitions to `total`, never less than now. Already done is a success."""

    name: str
    total: int
    event: Event | None = None


@dataclass(frozen=True, slots=True)
class AlterConfig:
    """Change a topic's configuration incrementally (KIP-339): SET and DELETE, nothing else."""

    change: ConfigChange
    event: Event | None = None


@dataclass(frozen=True, slots=True)
class DeleteTopic:
    """Delete a topic with everything in it. An absent topic is a success.

    Only planned for MailTopics that are being deleted with deletionPolicy Delete.
    """

    name: str
    event: Event | None = None


@dataclass(frozen=True, slots=True)
class ClaimKafkaUser:
    """Write into the status that a user is about to be created; if that fails, it isn't.

    Attributes:
        patch: the JSON merge patch of the status subresource.
    """

    user: str
    patch: Mapping[str, Any]
    event: Event | None = None

    @property
    def target(self) -> str:
        """What a Failure of it names."""
        return f"claim of user {self.user}"

    @property
    def words(self) -> str:
        """What it does."""
        return f"note in the status that it creates user {self.user}"


@dataclass(frozen=True, slots=True)
class MakePassword:
    """Make a random password under a key of a Secret, unless there is one.

    Attributes:
        manifest: the Secret without its data; it is created if it is missing.
    """

    manifest: Mapping[str, Any]
    key: str
    event: Event | None = None

    @property
    def target(self) -> str:
        """What a Failure of it names."""
        return f"Secret/{self.manifest['metadata']['name']} {self.key}"

    @property
    def words(self) -> str:
        """What it does."""
        return f"make a password in {self.target}"


@dataclass(frozen=True, slots=True)
class SetKafkaUser:
    """Store the password from a Secret for a user of Kafka; it is created if it is missing."""

    user: str
    namespace: str
    secret: str
    key: str
    event: Event | None = None

    @property
    def target(self) -> str:
        """What a Failure of it names."""
        return f"user {self.user}"

    @property
    def words(self) -> str:
        """What it does."""
        return f"set the password of user {self.user}"


@dataclass(frozen=True, slots=True)
class SetAcls:
    """Create and delete ACLs of one user."""

    user: str
    allow: frozenset[Acl]
    forbid: frozenset[Acl]
    event: Event | None = None

    @property
    def target(self) -> str:
        """What a Failure of it names."""
        return f"ACLs of user {self.user}"

    @property
    def words(self) -> str:
        """What it does."""
        return f"{self.target}: create {len(self.allow)}, delete {len(self.forbid)}"


@dataclass(frozen=True, slots=True)
class DropKafkaUser:
    """Delete a user of Kafka with all its ACLs. An absent one is a success."""

    user: str
    event: Event | None = None

    @property
    def target(self) -> str:
        """What a Failure of it names."""
        return f"user {self.user}"

    @property
    def words(self) -> str:
        """What it does."""
        return f"delete user {self.user} with its ACLs"


@dataclass(frozen=True, slots=True)
class DropPassword:
    """Remove a key from a Secret. An absent key or Secret is a success."""

    secret: str
    key: str
    event: Event | None = None

    @property
    def target(self) -> str:
        """What a Failure of it names."""
        return f"Secret/{self.secret} {self.key}"

    @property
    def words(self) -> str:
        """What it does."""
        return f"remove the password in {self.target}"


@dataclass(frozen=True, slots=True)
class ApplyChild:
    """Server-side apply, forced, with the operator's field manager.

    Attributes:
        why: for logs, metrics and the plan of a dry run: "missing", "changed", "drift".
    """

    manifest: Mapping[str, Any]
    why: Literal["missing", "changed", "drift"]
    event: Event | None = None

    @property
    def ref(self) -> ChildRef:
        """The object."""
        return ChildRef.of(self.manifest)


@dataclass(frozen=True, slots=True)
class PruneChild:
    """Remove from a child what others have added: server-side apply alone would leave it there.

    Attributes:
        resource_version: of the object in which the paths were found.
        patch: RFC 6902 operations, which test that version first. A conflict or a missing path is a
            success: the next plan looks again.
    """

    ref: ChildRef
    resource_version: str
    patch: tuple[Mapping[str, Any], ...]
    event: Event | None = None


@dataclass(frozen=True, slots=True)
class DeleteChild:
    """Delete a child. An absent child is a success.

    Attributes:
        uid: only the object with this uid, not another of the same name.
        propagation: with Foreground it stays visible until its pods are gone.
    """

    ref: ChildRef
    uid: str
    propagation: Literal["Background", "Foreground"] = "Background"
    event: Event | None = None


Action = (
    AddFinalizer
    | RemoveFinalizer
    | ClaimTopics
    | CreateTopic
    | IncreasePartitions
    | AlterConfig
    | DeleteTopic
    | ClaimKafkaUser
    | MakePassword
    | SetKafkaUser
    | SetAcls
    | DropKafkaUser
    | DropPassword
    | ApplyChild
    | PruneChild
    | DeleteChild
)


USER_ACTIONS: Final = (
    ClaimKafkaUser,
    MakePassword,
    SetKafkaUser,
    SetAcls,
    DropKafkaUser,
    DropPassword,
)
"""What is done about a MailTopic's users in Kafka."""

KAFKA_USER_ACTIONS: Final = (SetKafkaUser, SetAcls, DropKafkaUser)
"""Those of them that take place in Kafka."""


class Side(StrEnum):
    """Where an action takes place."""

    KAFKA = "Kafka"
    CLUSTER = "Kubernetes"


def side(action: Action) -> Side:
    """Return where an action takes place; Kafka's can be batched across MailTopics."""
    kafka = (CreateTopic, IncreasePartitions, AlterConfig, DeleteTopic, *KAFKA_USER_ACTIONS)
    return Side.KAFKA if isinstance(action, kafka) else Side.CLUSTER


def target(action: Action) -> str:
    """Return the target of an action's Failure: a topic, a child, the finalizer, the claim."""
    if isinstance(action, USER_ACTIONS):
        return action.target
    match action:
        case AddFinalizer() | RemoveFinalizer():
            name = "finalizer"
        case ClaimTopics():
            name = "claim"
        case CreateTopic():
            name = action.topic.name
        case AlterConfig():
            name = action.change.name
        case IncreasePartitions() | DeleteTopic():
            name = action.name
        case ApplyChild() | PruneChild() | DeleteChild():
            name = str(action.ref)
    return name


def write_id(action: Action) -> str | None:
    """Return the same text, in one process, for the same write; None if no other may undo it."""
    match action:
        case ApplyChild():
            return f"apply {action.why} {action.ref} {hash(repr(action.manifest))}"
        case PruneChild():
            return f"prune {action.ref}"
        case AlterConfig(change):
            return f"alter {change.name} {sorted(change.set.items())} {sorted(change.remove)}"
        case _:
            return None


@dataclass(frozen=True, slots=True)
class PatchStatus:
    """Write the whole status, after everything else in the plan has been tried.

    Attributes:
        status: all of it, as in YAML.
        patch: the JSON merge patch (RFC 7386) from the old status to it; for the status
            subresource: {"status": …}.
        events: the status's transitions, to be written once the patch has succeeded.
    """

    status: Mapping[str, Any]
    patch: Mapping[str, Any]
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do about a MailTopic.

    Actions are done in this order. When one fails, later ones on the same side are not tried,
    unless they are about other topics or children; the failure goes into the next `Observed`. After
    the actions, observe and plan again: the next plan reports the result. So a plan without actions
    and status means that there is nothing to do.

    Attributes:
        actions: the changes to make.
        status: the status to write, from what was observed before the actions; None if unchanged.
        requeue_after_s: when to look again even without an event; None for the usual resync.
    """

    actions: tuple[Action, ...] = ()
    status: PatchStatus | None = None
    requeue_after_s: float | None = None

    @property
    def is_settled(self) -> bool:
        """Whether there is nothing to write."""
        return not self.actions and self.status is None
