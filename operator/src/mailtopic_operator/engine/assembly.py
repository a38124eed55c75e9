"""Assembles the engine from its dependencies."""

from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

from mailtopic_operator.domain import planning
from mailtopic_operator.domain.defaults import OperatorDefaults
from mailtopic_operator.engine.backlog import BacklogSampler
from mailtopic_operator.engine.claims import Claims
from mailtopic_operator.engine.deciders import Planner, ReplayDecider, TopicDecider
from mailtopic_operator.engine.endings import Endings
from mailtopic_operator.engine.engine import Engine
from mailtopic_operator.engine.executor import BetweenActions, Executor, Guard
from mailtopic_operator.engine.failures import Failures
from mailtopic_operator.engine.kafka_gate import KafkaGate
from mailtopic_operator.engine.last_acts import LastActs
from mailtopic_operator.engine.observer import Observer
from mailtopic_operator.engine.own_writes import OwnWrites
from mailtopic_operator.engine.queue import BatchQueue
from mailtopic_operator.engine.reconciler import Reconciler
from mailtopic_operator.engine.recorder import EventRecorder
from mailtopic_operator.engine.replay_index import ReplayIndex
from mailtopic_operator.engine.replay_observer import ReplayObserver
from mailtopic_operator.engine.sender_sampler import SenderSampler
from mailtopic_operator.engine.store import Store
from mailtopic_operator.engine.user_keeper import UserKeeper
from mailtopic_operator.kinds import MAIL_REPLAY, MAIL_TOPIC
from mailtopic_operator.metrics import OperatorMetrics
from mailtopic_operator.ports import (
    Apis,
    KafkaAdmin,
    KafkaBacklog,
    KafkaUsers,
    Objects,
    Resources,
    SenderMetrics,
)
from mailtopic_runtime import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """All external dependencies of the engine; tests pass the shipped fakes."""

    admin: KafkaAdmin
    backlog: KafkaBacklog
    senders: SenderMetrics
    objects: Objects
    apis: Apis
    resources: Resources
    clock: Clock
    metrics: OperatorMetrics
    guard: Guard
    between_actions: BetweenActions
    users: KafkaUsers | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How often, and how much at once; see the settings of the same names."""

    resync_s: float = 120.0
    sample_s: float = 30.0
    batch_size: int = 100
    linger_s: float = 0.1
    api_concurrency: int = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The engine and those of its parts that callers use."""

    engine: Engine
    observer: Observer
    reconciler: Reconciler
    recorder: EventRecorder
    queue: BatchQueue
    store: Store
    gate: KafkaGate
    last_acts: LastActs

    def work(self) -> Iterator[Coroutine[Any, Any, None]]:
        """Yield the coroutines that must run all the time."""
        yield self.gate.watch()
        yield self.recorder.write()
        yield self.engine.work()
        yield self.engine.resync()
        yield self.engine.sample()
        yield self.engine.sample_senders()


@dataclass(slots=True)
class _Shared:
    """State that several parts of the engine share."""

    store: Store
    claims: Claims
    replays: ReplayIndex
    failures: Failures
    writes: OwnWrites
    queue: BatchQueue
    recorder: EventRecorder
    backlog: BacklogSampler
    senders: SenderSampler
    gate: KafkaGate
    endings: Endings
    defaults: OperatorDefaults


def assemble(
    outside: Outside, limits: Limits, defaults: OperatorDefaults, planner: Planner = planning
) -> Parts:
    """Return an engine that isn't synchronised yet."""
    store = Store()
    shared = _Shared(
        store=store,
        claims=Claims(),
        replays=ReplayIndex(),
        failures=Failures(),
        writes=OwnWrites(),
        queue=BatchQueue(outside.clock, batch_size=limits.batch_size, linger_s=limits.linger_s),
        recorder=EventRecorder(outside.resources),
        backlog=BacklogSampler(outside.backlog, outside.clock),
        senders=SenderSampler(outside.objects, outside.senders, store),
        gate=KafkaGate(outside.admin),
        endings=Endings(outside.apis, store),
        defaults=defaults,
    )
    observer = _observer(outside, limits, shared)
    executor = _executor(outside, limits, shared)
    reconciler = Reconciler(
        deciders={
            MAIL_TOPIC.kind: TopicDecider(planner, observer, defaults),
            MAIL_REPLAY.kind: ReplayDecider(
                _replay_observer(outside, limits, shared), store, defaults
            ),
        },
        topics=observer,
        executor=executor,
        resources=outside.resources,
        store=shared.store,
        replays=shared.replays,
        failures=shared.failures,
        writes=shared.writes,
        recorder=shared.recorder,
        queue=shared.queue,
        metrics=outside.metrics,
        clock=outside.clock,
        guard=outside.guard,
        between_actions=outside.between_actions,
        concurrency=limits.api_concurrency,
    )
    engine = _engine(outside, limits, shared, observer, reconciler)
    shared.gate.on_back = engine.requeue_all
    return Parts(
        engine=engine,
        observer=observer,
        reconciler=reconciler,
        recorder=shared.recorder,
        queue=shared.queue,
        store=shared.store,
        gate=shared.gate,
        last_acts=LastActs(
            store=shared.store,
            endings=shared.endings,
            reconcile=reconciler.reconcile,
            resources=outside.resources,
        ),
    )


def _observer(outside: Outside, limits: Limits, shared: _Shared) -> Observer:
    return Observer(
        admin=shared.gate,
        users=outside.users,
        objects=outside.objects,
        apis=outside.apis,
        store=shared.store,
        claims=shared.claims,
        failures=shared.failures,
        writes=shared.writes,
        backlog=shared.backlog,
        senders=shared.senders,
        endings=shared.endings,
        clock=outside.clock,
        concurrency=limits.api_concurrency,
    )


def _replay_observer(outside: Outside, limits: Limits, shared: _Shared) -> ReplayObserver:
    return ReplayObserver(
        objects=outside.objects,
        store=shared.store,
        replays=shared.replays,
        failures=shared.failures,
        concurrency=limits.api_concurrency,
    )


def _executor(outside: Outside, limits: Limits, shared: _Shared) -> Executor:
    return Executor(
        admin=shared.gate,
        users=UserKeeper(outside.users, outside.objects),
        objects=outside.objects,
        resources=outside.resources,
        store=shared.store,
        failures=shared.failures,
        writes=shared.writes,
        recorder=shared.recorder,
        metrics=outside.metrics,
        clock=outside.clock,
        guard=outside.guard,
        between_actions=outside.between_actions,
        concurrency=limits.api_concurrency,
    )


def _engine(
    outside: Outside,
    limits: Limits,
    shared: _Shared,
    observer: Observer,
    reconciler: Reconciler,
) -> Engine:
    return Engine(
        objects=outside.objects,
        store=shared.store,
        claims=shared.claims,
        replays=shared.replays,
        queue=shared.queue,
        observer=observer,
        reconciler=reconciler,
        backlog=shared.backlog,
        senders=shared.senders,
        defaults=shared.defaults,
        metrics=outside.metrics,
        clock=outside.clock,
        resync_s=limits.resync_s,
        sample_s=limits.sample_s,
    )
