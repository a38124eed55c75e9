"""The engine's external dependencies. Each port has a real adapter and a shipped fake."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

from mailtopic_operator.domain.actions import Event
from mailtopic_operator.domain.kafka import (
    Acl,
    ConfigChange,
    KafkaProblem,
    NewTopic,
    TopicState,
    UserState,
)
from mailtopic_operator.domain.observed import RelayReading

Json = dict[str, Any]
Answers = Mapping[str, KafkaProblem | None]
"""The result for each topic or user of one request: None means success."""


class KafkaAdmin(Protocol):
    """Topics of one Kafka cluster, many of them in each request.

    An error about a topic is not raised: it is a KafkaProblem in the answer. UNAVAILABLE doesn't
    mean that the request wasn't carried out: look again before repeating it. Requests aren't
    atomic, and their effects may take a moment to be visible everywhere.
    """

    async def describe(self, topics: Collection[str]) -> Mapping[str, TopicState | KafkaProblem]:
        """Return each topic's state; an absent one is a problem of kind MISSING."""
        ...

    async def create(self, topics: Sequence[NewTopic], *, dry_run: bool = False) -> Answers:
        """Create topics; with dry_run only check whether Kafka would."""
        ...

    async def grow(self, partitions: Mapping[str, int]) -> Answers:
        """Raise topics to these total numbers of partitions."""
        ...

    async def alter(self, changes: Sequence[ConfigChange]) -> Answers:
        """Set and remove some config keys; all others stay unchanged."""
        ...

    async def delete(self, topics: Collection[str]) -> Answers:
        """Delete topics with all their records."""
        ...


class KafkaUsers(Protocol):
    """Users of one Kafka cluster that log in by SCRAM, and their ACLs; only the operator's own.

    Problems are answers, as in `KafkaAdmin`; a user that isn't the operator's is a ValueError.
    """

    async def describe(self, users: Collection[str]) -> Mapping[str, UserState | KafkaProblem]:
        """Return each user's state; nothing stored is a state, too."""
        ...

    async def set_passwords(self, passwords: Mapping[str, tuple[bytes, int]]) -> Answers:
        """Store passwords with their iterations; users that don't exist are created."""
        ...

    async def allow(self, acls: Mapping[str, Iterable[Acl]]) -> Answers:
        """Create ACLs by user; one that exists is a success."""
        ...

    async def forbid(self, acls: Mapping[str, Iterable[Acl]]) -> Answers:
        """Delete ACLs by user; an absent one is a success."""
        ...

    async def drop(self, users: Collection[str]) -> Answers:
        """Delete users with their passwords and all their ACLs; an absent one is a success."""
        ...


class KafkaBacklog(Protocol):
    """How many records wait in topics. A number is as old as the answer, and only a hint."""

    async def counts(self, topics: Mapping[str, int]) -> Mapping[str, int | KafkaProblem]:
        """Count the records in topics (name: partitions); compacted ones less accurately."""
        ...

    async def lags(
        self, groups: Mapping[str, Mapping[str, int]]
    ) -> Mapping[str, int | KafkaProblem]:
        """Count by group the unread records in its topics (name: partitions)."""
        ...


class SenderMetrics(Protocol):
    """The metrics of single senders."""

    async def relays(self, host: str, port: int) -> Mapping[str, RelayReading] | None:
        """Return the relays' state at one sender, by name; None if there was no answer.

        It takes a few seconds at most, and raises nothing for an unreachable sender.
        """
        ...


class Objects(Protocol):
    """Kubernetes objects by kind, namespace and name; raises KubeError."""

    async def listing(self, kind: str) -> tuple[Sequence[Json], str]:
        """Read all objects of a kind that concern the operator, and the list's version."""
        ...

    async def select(self, kind: str, namespace: str, labels: Mapping[str, str]) -> Sequence[Json]:
        """Read the objects of a kind and namespace that carry all these labels."""
        ...

    async def read(self, kind: str, namespace: str, name: str) -> Json:
        """Read one object."""
        ...

    async def apply(self, kind: str, manifest: Json, *, force: bool) -> Json:
        """Apply a manifest server-side; return the resulting object.

        Without force, a field that another manager owns with a different value is a KubeConflict.
        """
        ...

    async def patch(self, kind: str, namespace: str, name: str, operations: Sequence[Json]) -> Json:
        """Patch an object by operations of RFC 6902; return the resulting object."""
        ...

    async def delete(
        self, kind: str, namespace: str, name: str, *, uid: str, propagation: str
    ) -> None:
        """Delete an object if it still has this uid; an absent one counts as deleted."""
        ...


class Apis(Protocol):
    """What the API server offers; raises KubeError."""

    async def serves(self, kind: str) -> bool:
        """Return whether the API server serves a kind that needs a CRD."""
        ...

    async def is_terminating(self, namespace: str) -> bool:
        """Return whether a namespace is being deleted; False if that is unknown."""
        ...


class Resources(Protocol):
    """The operator's own resources (MailTopic, MailReplay); raises KubeError."""

    async def patch_status(self, key: tuple[str, str, str], patch: Json) -> Json:
        """Merge-patch the status of a resource (kind, namespace, name)."""
        ...

    async def patch_finalizers(
        self, key: tuple[str, str, str], finalizers: Sequence[str], *, version: str
    ) -> Json:
        """Replace the finalizers of a resource if it still has this version."""
        ...

    async def emit(self, resource: Mapping[str, Any], event: Event, action: str) -> None:
        """Record an Event about a resource; if that fails, it is logged and lost."""
        ...


class Leases(Protocol):
    """One Lease, by which replicas agree on which of them acts; raises KubeError."""

    async def read(self) -> Json:
        """Read the Lease."""
        ...

    async def create(self, spec: Json) -> Json:
        """Create the Lease; KubeConflict if another replica was faster."""
        ...

    async def replace(self, lease: Json) -> Json:
        """Replace the Lease by one with its version; KubeConflict if another replica was faster."""
        ...
