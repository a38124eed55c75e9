"""A model of Kafka and of a cluster, small enough for property tests of the operator's plans."""

import copy
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from mailtopic_operator.domain.actions import (
    Action,
    AddFinalizer,
    AlterConfig,
    ApplyChild,
    ClaimTopics,
    CreateTopic,
    DeleteChild,
    DeleteTopic,
    Event,
    IncreasePartitions,
    Plan,
    PruneChild,
    RemoveFinalizer,
)
from mailtopic_operator.domain.defaults import Border, KafkaAccess, OperatorDefaults
from mailtopic_operator.domain.desired import Desired
from mailtopic_operator.domain.kafka import KafkaProblem, TopicState
from mailtopic_operator.domain.observed import (
    ChildRef,
    Claimant,
    DataObject,
    Failure,
    Lag,
    Observed,
    RelayHealth,
)
from mailtopic_operator.domain.planning import plan
from mailtopic_operator.model.mailtopic import FINALIZER

START = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
DEFAULTS = OperatorDefaults(kafka=KafkaAccess("kafka:9092"))
RELAY = {"name": "ses", "host": "smtp.example.net"}
MINIMAL: Mapping[str, Any] = {"from": {"address": "noreply@example.net"}, "relays": [RELAY]}
BROKERS_COPIES = 3


def spec(**changes: Any) -> dict[str, Any]:
    """Return a spec: the minimal one with other fields beside."""
    return {**copy.deepcopy(dict(MINIMAL)), **changes}


ADOPTING: Mapping[str, Any] = {
    "spec": spec(topic={"adopt": True}),
    "defaults": replace(DEFAULTS, border=Border(topic_prefixes={"shop": ("mails",)})),
}
"""Arguments of a World that adopts existing topics."""


@dataclass
class World:
    """One MailTopic, and all that is around it. Time moves by `pass_time` alone."""

    spec: dict[str, Any] = field(default_factory=spec)
    defaults: OperatorDefaults = DEFAULTS
    now: datetime = START
    generation: int = 1
    annotations: dict[str, str] = field(default_factory=dict)
    finalizers: list[str] = field(default_factory=list)
    status: dict[str, Any] = field(default_factory=dict)
    deleting_since: datetime | None = None
    topics: dict[str, TopicState | KafkaProblem] = field(default_factory=dict)
    children: dict[ChildRef, dict[str, Any]] = field(default_factory=dict)
    apis: frozenset[str] = frozenset()
    secrets: dict[str, DataObject] = field(default_factory=dict)
    config_maps: dict[str, DataObject] = field(default_factory=dict)
    claimants: tuple[Claimant, ...] = ()
    lag: Lag | None = None
    dead_letters: int | None = 0
    relays: tuple[RelayHealth, ...] = ()
    failures: tuple[Failure, ...] = ()
    is_namespace_terminating: bool = False
    is_gone: bool = False
    events: list[Event] = field(default_factory=list)
    done: list[Action] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def body(self) -> dict[str, Any]:
        metadata: dict[str, Any] = {
            "namespace": "shop",
            "name": "mails",
            "uid": "uid-of-mails",
            "generation": self.generation,
            "creationTimestamp": "2026-11-25T11:00:00Z",
            "annotations": self.annotations,
            "finalizers": list(self.finalizers),
        }
        if self.deleting_since:
            metadata["deletionTimestamp"] = self.deleting_since.isoformat()
        return {"metadata": metadata, "spec": self.spec, "status": self.status}

    @property
    def desired(self) -> Desired:
        return Desired.parse(self.body, self.defaults)

    @property
    def observed(self) -> Observed:
        return Observed(
            topics=dict(self.topics),
            children=copy.deepcopy(self.children),
            apis=self.apis,
            secrets=self.secrets,
            config_maps=self.config_maps,
            claimants=self.claimants,
            lag=self.lag,
            dead_letters=self.dead_letters,
            relays=self.relays,
            failures=self.failures,
            is_namespace_terminating=self.is_namespace_terminating,
        )

    def plan(self) -> Plan:
        return plan(self.desired, self.observed, self.now)

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def change(self, **changes: Any) -> None:
        """Change the spec, as a user does."""
        self.spec = {**self.spec, **changes}
        self.generation += 1

    def round(self, *, actions: int | None = None) -> Plan:
        """Plan, and do it all; or only so many actions of it, as an operator that is killed."""
        made = self.plan()
        for action in made.actions[:actions]:
            self.do(action)
        if actions is None and made.status is not None and not self.is_gone:
            patch = dict(made.status.patch["status"])
            if any(isinstance(action, ClaimTopics) for action in made.actions):
                # The engine plans once more before it reports.
                patch.pop("topics", None)
            self.status = merged(self.status, patch)
            self.events += made.status.events
        self.run_controllers()
        return made

    def settle(self, limit: int = 12) -> int:
        """Go on until there is nothing to do; return in how many rounds."""
        for rounds in range(limit):
            if self.is_gone or self.round().is_settled:
                return rounds
            self.pass_time(1)
        raise AssertionError(f"still at it: {self.plan()}")

    def do(self, action: Action) -> None:
        self.done.append(action)
        if action.event:
            self.events.append(action.event)
        match action:
            case AddFinalizer():
                self.finalizers = sorted({*self.finalizers, FINALIZER})
            case RemoveFinalizer():
                self.finalizers = [name for name in self.finalizers if name != FINALIZER]
                self.is_gone = self.deleting_since is not None and not self.finalizers
            case ClaimTopics():
                self.status = merged(self.status, action.patch["status"])
            case CreateTopic() | IncreasePartitions() | AlterConfig() | DeleteTopic():
                self._do_in_kafka(action)
            case ApplyChild() | PruneChild() | DeleteChild():
                self._do_in_cluster(action)

    def _do_in_kafka(
        self, action: CreateTopic | IncreasePartitions | AlterConfig | DeleteTopic
    ) -> None:
        match action:
            case CreateTopic(topic):
                copies = (
                    BROKERS_COPIES if topic.replication_factor < 0 else topic.replication_factor
                )
                self.put_topic(topic.name, topic.partitions, copies, topic.config)
            case IncreasePartitions(name, total):
                old = self.topic(name)
                assert total > old.partitions, "Kafka can't take partitions away"
                self.put_topic(name, total, old.replication_factor, old.config, old.topic_id)
            case AlterConfig(change):
                old = self.topic(change.name)
                kept = {k: v for k, v in old.config.items() if k not in change.remove}
                config = {**kept, **change.set}
                copies = old.replication_factor
                self.put_topic(old.name, old.partitions, copies, config, old.topic_id)
            case DeleteTopic(name):
                self.topics.pop(name, None)

    def _do_in_cluster(self, action: ApplyChild | PruneChild | DeleteChild) -> None:
        if isinstance(action, ApplyChild):
            self.put_child(action.manifest)
        elif isinstance(action, DeleteChild):
            self.children.pop(action.ref, None)

    def topic(self, name: str) -> TopicState:
        state = self.topics[name]
        assert isinstance(state, TopicState)
        return state

    def put_topic(
        self,
        name: str,
        partitions: int,
        copies: int = BROKERS_COPIES,
        config: Mapping[str, str] | None = None,
        topic_id: str | None = None,
    ) -> None:
        topic_id = topic_id or f"id-{next(self._numbers)}"
        self.topics[name] = TopicState(name, topic_id, partitions, copies, dict(config or {}))

    def put_child(self, manifest: Mapping[str, Any]) -> None:
        """Apply server-side: what was there and isn't named stays, lists are replaced."""
        ref = ChildRef.of(manifest)
        made = copy.deepcopy(dict(manifest))
        old = self.children.get(ref)
        number = next(self._numbers)
        if old is not None:
            made["status"] = old.get("status", {})
            if "replicas" not in made.get("spec", {}) and "replicas" in old.get("spec", {}):
                made["spec"]["replicas"] = old["spec"]["replicas"]
        uid = old["metadata"]["uid"] if old else f"uid-{number}"
        generation = old["metadata"]["generation"] + 1 if old else 1
        made["metadata"] |= {
            "uid": uid,
            "resourceVersion": str(number),
            "generation": generation,
        }
        self.children[ref] = made

    @property
    def deployment(self) -> dict[str, Any]:
        (found,) = [child for ref, child in self.children.items() if ref.kind == "Deployment"]
        return found

    def run_controllers(self) -> None:
        """Bring every Deployment to what it asks for, as kube-controller-manager does."""
        for ref, child in self.children.items():
            if ref.kind == "Deployment":
                wanted = child["spec"].get("replicas", 1)
                counts = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
                child["status"] = dict.fromkeys(counts, wanted) | {
                    "observedGeneration": child["metadata"]["generation"]
                }

    def condition(self, kind: str) -> tuple[str, str]:
        """Return status and reason of a condition."""
        found = {c["type"]: c for c in self.status.get("conditions", ())}[kind]
        return found["status"], found["reason"]

    def message(self, kind: str) -> str:
        found = {c["type"]: c for c in self.status.get("conditions", ())}[kind]
        return str(found["message"])

    def reasons(self) -> list[str]:
        """Return the reasons of the events so far."""
        return [event.reason for event in self.events]

    def outcome(self) -> dict[str, Any]:
        """Return what doesn't depend on when, and in how many steps, it came about."""
        conditions = {
            c["type"]: (c["status"], c["reason"]) for c in self.status.get("conditions", ())
        }
        topics = {
            name: (t.partitions, t.replication_factor, dict(t.config))
            for name, t in self.topics.items()
            if isinstance(t, TopicState)
        }
        children = {ref: child.get("spec") for ref, child in self.children.items()}
        finalizers = sorted(self.finalizers)
        return {
            "conditions": conditions,
            "topics": topics,
            "children": children,
            "finalizers": finalizers,
            "is_gone": self.is_gone,
        }


def merged(old: Any, patch: Any) -> Any:
    """Apply a JSON merge patch (RFC 7386)."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(old) if isinstance(old, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def kinds(actions: Iterable[Action]) -> list[str]:
    """Return the names of actions."""
    return [type(action).__name__ for action in actions]
