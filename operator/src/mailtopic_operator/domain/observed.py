"""The observed state of one MailTopic, in Kafka and in the cluster."""

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Self

from mailtopic_operator.domain.kafka import KafkaProblem, ProblemKind, TopicState, UserState
from mailtopic_operator.domain.pod_trouble import PodTrouble

USE_LABEL: Final = "mailtopic.dev/use"
"""Label of Secrets that MailTopics may refer to; its value is the allowed use."""


class KubeProblemKind(StrEnum):
    """Why the API server didn't carry out a request."""

    UNAVAILABLE = "Unavailable"
    """It didn't answer, is too busy, or the write lost a race: it is tried again."""
    FORBIDDEN = "Forbidden"
    """RBAC, an admission policy or a ResourceQuota doesn't allow it."""
    REFUSED = "Refused"
    """It finds the object itself invalid, such as a wrong podTemplate."""


@dataclass(frozen=True, slots=True)
class Failure:
    """The failure of the last attempt at something; kept by the engine until one succeeds.

    Attributes:
        target: `actions.target` of the action.
        message: Kafka's or the API server's words, one line; no address, code or password.
    """

    target: str
    kind: ProblemKind | KubeProblemKind
    message: str


@dataclass(frozen=True, slots=True, order=True)
class ChildRef:
    """A child object, in the namespace of its MailTopic."""

    api_version: str
    kind: str
    name: str

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> Self:
        """Return the reference to an object."""
        return cls(manifest["apiVersion"], manifest["kind"], manifest["metadata"]["name"])

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True)
class Admitted:
    """A child's manifest as the API server made it, where admission changed it.

    Attributes:
        stamp: of the manifest that was applied.
        manifest: it, with the values that came back.
    """

    stamp: str
    manifest: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DataObject:
    """A Secret or ConfigMap without its values.

    Attributes:
        version: a digest that changes only with the data.
        keys: the keys of the data.
        use: the use that the label mailtopic.dev/use allows to MailTopics.
        owner: uid of the controller; empty if there is none.
        versions: a digest of each value, by key; of a Secret only.
    """

    version: str
    keys: frozenset[str]
    use: str = ""
    owner: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)


def data_object(kind: str, item: Mapping[str, Any]) -> DataObject:
    """Return the DataObject of a Secret or ConfigMap from the API server.

    The digest of a Secret is keyed by its uid, which only its readers see: senders carry the digest
    in an annotation, and with a plain one, read access to a Deployment would be enough to test
    guessed passwords. Labels and annotations, which tools such as External Secrets renew at each
    refresh, are not part of it.
    """
    data = {**(item.get("data") or {}), **(item.get("binaryData") or {})}
    key = item["metadata"]["uid"].encode() if kind == "Secret" else b""
    version = _digest(key, json.dumps(data, sort_keys=True))
    use = (item["metadata"].get("labels") or {}).get(USE_LABEL, "")
    owners = item["metadata"].get("ownerReferences") or ()
    owner = next((each["uid"] for each in owners if each.get("controller")), "")
    single = {name: _digest(key, value) for name, value in data.items()} if key else {}
    return DataObject(version, frozenset(data), use, owner, single)


def _digest(key: bytes, text: str) -> str:
    return hmac.new(key, text.encode(), "sha256").hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Claimant:
    """Another MailTopic, in any namespace, that uses at least one of the same topics.

    Attributes:
        topics: all its topics.
    """

    namespace: str
    name: str
    uid: str
    created_at: datetime
    topics: frozenset[str]


@dataclass(frozen=True, slots=True)
class Lag:
    """Waiting mails, as measured.

    Attributes:
        records: of the main topic and the retry topics, in `Desired.consumer_groups`.
        seconds: how long the oldest has been waiting; None if unknown.
    """

    records: int
    seconds: int | None
    sampled_at: datetime


@dataclass(frozen=True, slots=True)
class RelayReading:
    """A relay's state at one sender.

    Attributes:
        is_open: whether the sender's breaker is open, so that the relay gets no mails.
        learned_per_s: learned mails per second that it takes from this sender; None: no limit.
    """

    is_open: bool
    learned_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class RelayHealth:
    """A relay's state at all senders.

    Attributes:
        learned_per_s: mails per second that it takes from all of them; None: no limit was met.
        is_pace_known: whether learned_per_s is known now.
    """

    name: str
    is_healthy: bool
    message: str = ""
    learned_per_s: float | None = None
    is_pace_known: bool = False


@dataclass(frozen=True, slots=True)
class Observed:
    """The observed state of one MailTopic.

    Attributes:
        topics: Kafka's answer for each of `Desired.topics`; an absent one is MISSING or left out.
        kafka_users: Kafka's answer for each of `Desired.kafka_users`.
        children: live objects by reference: each of `children.refs(desired)` that exists, managed
            fields included. Objects with our labels and this owner that aren't wanted any more are
            included: they are deleted.
        apis: kinds that the API server serves besides the built-in ones: "ScaledObject".
        secrets: those of `Desired.secrets` that exist, by name.
        config_maps: those of `Desired.config_maps` that exist, by name.
        claimants: other MailTopics that use one of the same topics.
        lag: None if it couldn't be measured.
        dead_letters: records in the DLQ; None if they couldn't be counted.
        relays: None or empty if they weren't sampled.
        pod_trouble: what keeps a sender's pod from running; None if nothing is known to.
        failures: of the last attempts; see Failure.
        admitted: children that admission changed when they were applied.
        held: until when a write that was repeated too often isn't repeated, by `actions.write_id`.
        is_namespace_terminating: the namespace is being deleted.
    """

    topics: Mapping[str, TopicState | KafkaProblem]
    kafka_users: Mapping[str, UserState | KafkaProblem] = field(default_factory=dict)
    children: Mapping[ChildRef, Mapping[str, Any]] = field(default_factory=dict)
    apis: frozenset[str] = frozenset()
    secrets: Mapping[str, DataObject] = field(default_factory=dict)
    config_maps: Mapping[str, DataObject] = field(default_factory=dict)
    claimants: tuple[Claimant, ...] = ()
    lag: Lag | None = None
    dead_letters: int | None = None
    relays: tuple[RelayHealth, ...] = ()
    pod_trouble: PodTrouble | None = None
    failures: tuple[Failure, ...] = ()
    admitted: Mapping[ChildRef, Admitted] = field(default_factory=dict)
    held: Mapping[str, datetime] = field(default_factory=dict)
    is_namespace_terminating: bool = False
