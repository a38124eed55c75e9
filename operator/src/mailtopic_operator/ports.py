"""What the engine needs from outside. Each port has a real adapter and a shipped fake."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from mailtopic_operator.domain.actions import Event
from mailtopic_operator.domain.kafka import ConfigChange, KafkaProblem, NewTopic, TopicState
from mailtopic_operator.domain.observed import RelayReading

Json = dict[str, Any]
Answers = Mapping[str, KafkaProblem | None]
"""What became of each topic of one request: None means that it was done."""


class KafkaAdmin(Protocol):
    """Topics of one Kafka cluster, many of them in each request.

    Nothing is raised for what Kafka says about a topic: that is a KafkaProblem in the answer. An
    answer of UNAVAILABLE doesn't say that it wasn't done: look again before doing it again.
    Requests aren't atomic, and what was done may take a moment to be seen everywhere.
    """

    async def describe(self, topics: Collection[str]) -> Mapping[str, TopicState | KafkaProblem]:
        """Tell what each topic is; an absent one is a problem of kind MISSING."""
        ...

    async def create(self, topics: Sequence[NewTopic], *, dry_run: bool = False) -> Answers:
        """Make topics; with dry_run only say whether Kafka would."""
        ...

    async def grow(self, partitions: Mapping[str, int]) -> Answers:
        """Give topics so many partitions in all."""
        ...

    async def alter(self, changes: Sequence[ConfigChange]) -> Answers:
        """Set and remove some config keys and leave all others as they are."""
        ...

    async def delete(self, topics: Collection[str]) -> Answers:
        """Delete topics with all their records."""
        ...


class KafkaBacklog(Protocol):
    """How much waits in topics. A number is as old as the answer, and only a hint."""

    async def counts(self, topics: Mapping[str, int]) -> Mapping[str, int | KafkaProblem]:
        """Count the records that topics with so many partitions hold; compacted ones less well."""
        ...

    async def lags(
        self, groups: Mapping[str, Mapping[str, int]]
    ) -> Mapping[str, int | KafkaProblem]:
        """Count by group what waits in its topics (with so many partitions) unread."""
        ...


class SenderMetrics(Protocol):
    """What single senders say of themselves."""

    async def relays(self, host: str, port: int) -> Mapping[str, RelayReading] | None:
        """Return how one sender finds its relays, by name; None: it didn't tell.

        It takes some seconds at most, and raises nothing for a sender that can't be asked.
        """
        ...


class Objects(Protocol):
    """Objects of Kubernetes by kind, namespace and name; raises KubeError."""

    async def listing(self, kind: str) -> tuple[Sequence[Json], str]:
        """Read all objects of a kind that concern the operator; with the version of the list."""
        ...

    async def select(self, kind: str, namespace: str, labels: Mapping[str, str]) -> Sequence[Json]:
        """Read the objects of a kind and namespace that carry all these labels."""
        ...

    async def read(self, kind: str, namespace: str, name: str) -> Json:
        """Read one object."""
        ...

    async def apply(self, kind: str, manifest: Json, *, force: bool) -> Json:
        """Apply a manifest server-side; return the object that came of it.

        Without force, what others own and have otherwise is a KubeConflict.
        """
        ...

    async def patch(self, kind: str, namespace: str, name: str, operations: Sequence[Json]) -> Json:
        """Patch an object by operations of RFC 6902; return the object that came of it."""
        ...

    async def delete(
        self, kind: str, namespace: str, name: str, *, uid: str, propagation: str
    ) -> None:
        """Delete an object if it is still this one; an absent one counts as deleted."""
        ...


class Apis(Protocol):
    """What the API server offers; raises KubeError."""

    async def serves(self, kind: str) -> bool:
        """Tell whether the API server knows a kind that comes with a CRD."""
        ...

    async def is_terminating(self, namespace: str) -> bool:
        """Tell whether a namespace is being deleted; what can't be told is a no."""
        ...


class Resources(Protocol):
    """The operator's own resources (MailTopic, MailReplay); raises KubeError."""

    async def patch_status(self, key: tuple[str, str, str], patch: Json) -> Json:
        """Merge-patch the status of a resource (kind, namespace, name)."""
        ...

    async def patch_finalizers(
        self, key: tuple[str, str, str], finalizers: Sequence[str], *, version: str
    ) -> Json:
        """Replace the finalizers of a resource, if its version is still this one."""
        ...

    async def emit(self, resource: Mapping[str, Any], event: Event, action: str) -> None:
        """Record an Event about a resource; one that can't be recorded is lost with a log line."""
        ...


class Leases(Protocol):
    """One Lease, by which replicas agree on who acts; raises KubeError."""

    async def read(self) -> Json:
        """Read it."""
        ...

    async def create(self, spec: Json) -> Json:
        """Create it; a KubeConflict where another replica was quicker."""
        ...

    async def replace(self, lease: Json) -> Json:
        """Replace it by one with its version; a KubeConflict where another was quicker."""
        ...
