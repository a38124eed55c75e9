"""Brokers that are too busy to learn of new topics aren't kept busy by asking for them again."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry

from mailtopic_operator.adapters.kafka_memory import MemoryAdmin
from mailtopic_operator.domain.actions import CreateTopic, Plan
from mailtopic_operator.domain.desired import Desired
from mailtopic_operator.domain.kafka import KafkaProblem, NewTopic, ProblemKind, TopicState
from mailtopic_operator.engine.deciders import Decide
from mailtopic_operator.engine.executor import Executor
from mailtopic_operator.engine.failures import Failures
from mailtopic_operator.engine.queue import BatchQueue
from mailtopic_operator.engine.reconciler import Reconciler
from mailtopic_operator.engine.recorder import EventRecorder
from mailtopic_operator.engine.replay_index import ReplayIndex
from mailtopic_operator.engine.store import Key, Store
from mailtopic_operator.engine.work import Wanted
from mailtopic_operator.kinds import MAIL_TOPIC
from mailtopic_operator.metrics import OperatorMetrics
from mailtopic_runtime import ManualClock
from support.mailtopic_world import DEFAULTS, World

TOPIC = NewTopic("mails", 1, 1)
KEY = Key(MAIL_TOPIC.kind, "shop", "mails")
# The cluster has no part in it: whoever asks it for something fails.
CLUSTER: Any = None


class BusyAdmin(MemoryAdmin):
    """A cluster whose brokers are `behind` its controller."""

    def __init__(self) -> None:
        super().__init__()
        self.is_behind = False

    async def describe(self, topics: Collection[str]) -> Mapping[str, TopicState | KafkaProblem]:
        if self.is_behind:
            return {name: KafkaProblem(ProblemKind.MISSING, "unknown") for name in topics}
        return await super().describe(topics)


class TopicAlone:
    """Decides on nothing but whether the topic is there."""

    def __init__(self, admin: MemoryAdmin) -> None:
        self._admin = admin

    def parse(self, body: Mapping[str, Any]) -> Desired:
        return Desired.parse(body, DEFAULTS)

    async def observe(self, batch: Mapping[Key, Wanted]) -> Mapping[Key, Decide]:
        state = (await self._admin.describe([TOPIC.name]))[TOPIC.name]
        is_there = isinstance(state, TopicState)
        plan = Plan(() if is_there else (CreateTopic(TOPIC),))
        return dict.fromkeys(batch, lambda _now: plan)

    def plan_invalid(self, body: Mapping[str, Any], problem: str, now: datetime) -> Plan:
        raise AssertionError((body, problem, now))


class Bench:
    """A reconciler of one MailTopic over a Kafka in memory."""

    def __init__(self) -> None:
        self.admin, self.clock, self.failures = BusyAdmin(), ManualClock(), Failures()
        self.queue = BatchQueue(self.clock, batch_size=10, linger_s=0)
        metrics = OperatorMetrics(CollectorRegistry())
        store, body = Store(), World().body
        store.put(
            MAIL_TOPIC.kind, {**body, "metadata": {**body["metadata"], "resourceVersion": "1"}}
        )
        recorder = EventRecorder(CLUSTER)
        self._reconciler = Reconciler(
            deciders={MAIL_TOPIC.kind: TopicAlone(self.admin)},
            topics=self.admin,
            executor=Executor(
                admin=self.admin,
                objects=CLUSTER,
                resources=CLUSTER,
                store=store,
                failures=self.failures,
                recorder=recorder,
                metrics=metrics,
                guard=lambda: None,
                between_actions=nothing,
                concurrency=1,
            ),
            resources=CLUSTER,
            store=store,
            replays=ReplayIndex(),
            failures=self.failures,
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
    bench.admin.is_behind = True
    await bench.reconcile()
    assert bench.admin.requests["create"] == 1
    assert [failure.kind for failure in bench.failures.of(KEY)] == [ProblemKind.UNAVAILABLE]
    assert len(bench.queue) == 1


async def test_once_brokers_know_the_topic_nothing_is_left_of_it() -> None:
    bench = Bench()
    bench.admin.is_behind = True
    await bench.reconcile()
    bench.admin.is_behind = False
    await bench.reconcile()
    assert bench.admin.requests["create"] == 1
    assert bench.failures.of(KEY) == ()
