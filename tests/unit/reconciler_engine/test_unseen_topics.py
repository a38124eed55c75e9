"""Brokers that are too busy to learn of new topics aren't kept busy by asking for them again."""

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry

from mailtopic_operator.adapters.kafka_memory import MemoryAdmin
from mailtopic_operator.domain.actions import Action, AlterConfig, CreateTopic, Plan
from mailtopic_operator.domain.desired import Desired
from mailtopic_operator.domain.kafka import (
    ConfigChange,
    KafkaProblem,
    NewTopic,
    ProblemKind,
    TopicState,
)
from mailtopic_operator.engine.deciders import Decide
from mailtopic_operator.engine.executor import Executor
from mailtopic_operator.engine.failures import Failures
from mailtopic_operator.engine.own_writes import OwnWrites
from mailtopic_operator.engine.queue import BatchQueue
from mailtopic_operator.engine.reconciler import Reconciler
from mailtopic_operator.engine.recorder import EventRecorder
from mailtopic_operator.engine.replay_index import ReplayIndex
from mailtopic_operator.engine.store import Key, Store
from mailtopic_operator.engine.user_keeper import UserKeeper
from mailtopic_operator.engine.work import Wanted
from mailtopic_operator.kinds import MAIL_TOPIC
from mailtopic_operator.metrics import OperatorMetrics
from mailtopic_runtime import ManualClock
from support.mailtopic_world import DEFAULTS, World

TOPIC = "mails"
KEY = Key(MAIL_TOPIC.kind, "shop", "mails")
# The cluster has no part in it: whoever asks it for something fails.
CLUSTER: Any = None


class BusyAdmin(MemoryAdmin):
    """A cluster whose brokers may be behind its controller."""

    def __init__(self) -> None:
        super().__init__()
        self._known: Mapping[str, TopicState] | None = None

    def fall_behind(self) -> None:
        self._known = self.topics

    def catch_up(self) -> None:
        self._known = None

    async def describe(self, topics: Collection[str]) -> Mapping[str, TopicState | KafkaProblem]:
        known = self.topics if self._known is None else self._known
        missing = KafkaProblem(ProblemKind.MISSING, "unknown topic")
        return {name: known.get(name, missing) for name in topics}


class TopicAlone:
    """Decides on nothing but the topic: that it is there, with its config."""

    def __init__(self, admin: MemoryAdmin) -> None:
        self._admin = admin
        self.retention_ms = "1000"

    def parse(self, body: Mapping[str, Any]) -> Desired:
        return Desired.parse(body, DEFAULTS)

    async def observe(self, batch: Mapping[Key, Wanted]) -> Mapping[Key, Decide]:
        state = (await self._admin.describe([TOPIC]))[TOPIC]
        plan = Plan(tuple(self._due(state)))
        return dict.fromkeys(batch, lambda _now: plan)

    def plan_invalid(self, body: Mapping[str, Any], problem: str, now: datetime) -> Plan:
        raise AssertionError((body, problem, now))

    def _due(self, state: TopicState | KafkaProblem) -> Iterator[Action]:
        config = {"retention.ms": self.retention_ms}
        if isinstance(state, KafkaProblem):
            yield CreateTopic(NewTopic(TOPIC, 1, 1, config))
        elif state.config != config:
            yield AlterConfig(ConfigChange(TOPIC, set=config))


class Bench:
    """A reconciler of one MailTopic over a Kafka in memory."""

    def __init__(self) -> None:
        self.admin, self.clock, self.failures = BusyAdmin(), ManualClock(), Failures()
        self.decider = TopicAlone(self.admin)
        self.queue = BatchQueue(self.clock, batch_size=10, linger_s=0)
        metrics = OperatorMetrics(CollectorRegistry())
        store, body = Store(), World().body
        store.put(
            MAIL_TOPIC.kind, {**body, "metadata": {**body["metadata"], "resourceVersion": "1"}}
        )
        recorder, writes = EventRecorder(CLUSTER), OwnWrites()
        self._reconciler = Reconciler(
            deciders={MAIL_TOPIC.kind: self.decider},
            topics=self.admin,
            executor=Executor(
                admin=self.admin,
                objects=CLUSTER,
                resources=CLUSTER,
                users=UserKeeper(None, CLUSTER),
                store=store,
                failures=self.failures,
                writes=writes,
                recorder=recorder,
                metrics=metrics,
                clock=self.clock,
                guard=lambda: None,
                between_actions=nothing,
                concurrency=1,
            ),
            resources=CLUSTER,
            store=store,
            replays=ReplayIndex(),
            failures=self.failures,
            writes=writes,
            recorder=recorder,
            queue=self.queue,
            metrics=metrics,
            clock=self.clock,
            guard=lambda: None,
            between_actions=nothing,
            concurrency=1,
        )

    async def reconcile(self) -> None:
        await self._reconciler.reconcile([KEY])


async def nothing() -> None:
    return None


async def test_a_topic_that_brokers_are_slow_to_learn_of_is_asked_for_once_a_pass() -> None:
    bench = Bench()
    bench.admin.fall_behind()
    await bench.reconcile()
    assert bench.admin.requests["create"] == 1
    assert [failure.kind for failure in bench.failures.of(KEY)] == [ProblemKind.UNAVAILABLE]
    assert len(bench.queue) == 1


async def test_a_config_that_brokers_are_slow_to_show_is_changed_once_a_pass() -> None:
    bench = Bench()
    await bench.reconcile()
    bench.admin.fall_behind()
    bench.decider.retention_ms = "2000"
    await bench.reconcile()
    assert bench.admin.requests["alter"] == 1
    assert [failure.kind for failure in bench.failures.of(KEY)] == [ProblemKind.UNAVAILABLE]
    assert len(bench.queue) == 1


async def test_once_brokers_know_nothing_is_left_to_be_done() -> None:
    bench = Bench()
    bench.admin.fall_behind()
    await bench.reconcile()
    bench.admin.catch_up()
    await bench.reconcile()
    assert bench.admin.requests["create"] == 1
    assert bench.admin.requests["alter"] == 0
    assert bench.failures.of(KEY) == ()
