"""What the operator may do. Each action can be done twice: the second time changes nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from mailtopic_operator.domain.kafka import ConfigChange, NewTopic
from mailtopic_operator.domain.observed import ChildRef


@dataclass(frozen=True, slots=True)
class Event:
    """A Kubernetes Event about a resource, written once the action it belongs to succeeded.

    Attributes:
        about: what it is about, if the same may be told of others: such events become one, which
            names them all.
    """

    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    about: str = ""


@dataclass(frozen=True, slots=True)
class AddFinalizer:
    """Add FINALIZER to the MailTopic, before there is anything that it protects."""

    event: Event | None = None


@dataclass(frozen=True, slots=True)
class RemoveFinalizer:
    """Remove FINALIZER; a deletion then goes through. A MailTopic that is gone is a success."""

    event: Event | None = None


@dataclass(frozen=True, slots=True)
class ClaimTopics:
    """Note in the status that topics are about to be created; they aren't, where this fails.

    Attributes:
        patch: the JSON merge patch of the status subresource.
    """

    names: tuple[str, ...]
    patch: Mapping[str, Any]
    event: Event | None = None


@dataclass(frozen=True, slots=True)
class CreateTopic:
    """Create a topic. That it exists already is a success: the next plan compares it."""

    topic: NewTopic
    event: Event | None = None


@dataclass(frozen=True, slots=True)
class IncreasePartitions:
    """Give a topic more partitions; `total` is never less than it has. Too late is a success."""

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
    """Delete a topic with everything in it. That it doesn't exist is a success.

    Only planned for MailTopics that are being deleted with deletionPolicy Delete.
    """

    name: str
    event: Event | None = None


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
    """Take out of a child what others have added: server-side apply alone would leave it there.

    Attributes:
        resource_version: of the object that the paths were found in.
        patch: RFC 6902 operations, which test that version first. A conflict or a path that is
            gone is a success: the next plan looks again.
    """

    ref: ChildRef
    resource_version: str
    patch: tuple[Mapping[str, Any], ...]
    event: Event | None = None


@dataclass(frozen=True, slots=True)
class DeleteChild:
    """Delete a child. That it doesn't exist is a success.

    Attributes:
        uid: only this one, not another of the same name.
        propagation: Foreground: it stays visible until its pods are gone.
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
    | ApplyChild
    | PruneChild
    | DeleteChild
)


class Side(StrEnum):
    """Where an action takes place."""

    KAFKA = "Kafka"
    CLUSTER = "Kubernetes"


def side(action: Action) -> Side:
    """Return where an action takes place; Kafka's can be batched over MailTopics."""
    kafka = (CreateTopic, IncreasePartitions, AlterConfig, DeleteTopic)
    return Side.KAFKA if isinstance(action, kafka) else Side.CLUSTER


def target(action: Action) -> str:
    """Return what a Failure of an action is about: a topic, a child, the finalizer, the claim."""
    match action:
        case AddFinalizer() | RemoveFinalizer():
            return "finalizer"
        case ClaimTopics():
            return "claim"
        case CreateTopic():
            return action.topic.name
        case AlterConfig():
            return action.change.name
        case IncreasePartitions() | DeleteTopic():
            return action.name
        case ApplyChild() | PruneChild() | DeleteChild():
            return str(action.ref)


@dataclass(frozen=True, slots=True)
class PatchStatus:
    """Write the status, as a whole, when everything else of the plan has been tried.

    Attributes:
        status: all of it, as it stands in YAML.
        patch: the JSON merge patch (RFC 7386) that makes it of the status there was; for the
            status subresource: {"status": …}.
        events: transitions that the status tells of, to be written when the patch succeeded.
    """

    status: Mapping[str, Any]
    patch: Mapping[str, Any]
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do about a MailTopic.

    Actions are done in this order. When one fails, those after it on the same side are not tried,
    unless they are about other topics or children; the failure goes into the next `Observed`.
    After actions were done, observe and plan again: the next plan reports what came of it. So a
    plan without actions and status means that there is nothing to do.

    Attributes:
        actions: what changes the world.
        status: the status to write, of what was observed before the actions; None if it stands.
        requeue_after_s: look again then, even if nothing happens; None for the usual resync.
    """

    actions: tuple[Action, ...] = ()
    status: PatchStatus | None = None
    requeue_after_s: float | None = None

    @property
    def is_settled(self) -> bool:
        """Whether nothing is to be written anywhere."""
        return not self.actions and self.status is None
