"""Reconciles a batch of resources: observe, plan, act, observe again, report."""

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, Protocol

from pydantic import ValidationError

from mailtopic_operator.domain.actions import AlterConfig, CreateTopic, Plan, target
from mailtopic_operator.domain.kafka import KafkaProblem, ProblemKind, TopicState
from mailtopic_operator.domain.observed import Failure
from mailtopic_operator.engine.deciders import Decide, Decider
from mailtopic_operator.engine.executor import BetweenActions, Executor, Guard
from mailtopic_operator.engine.failures import Failures
from mailtopic_operator.engine.own_writes import OwnWrites
from mailtopic_operator.engine.queue import BatchQueue
from mailtopic_operator.engine.recorder import EventRecorder
from mailtopic_operator.engine.replay_index import ReplayIndex
from mailtopic_operator.engine.store import Key, Store
from mailtopic_operator.engine.work import Work
from mailtopic_operator.errors import KubeConflict, KubeError, KubeNotFound, KubeUnavailable
from mailtopic_operator.metrics import OperatorMetrics
from mailtopic_operator.ports import Resources
from mailtopic_runtime import Clock, get_logger

_ROUNDS: Final = 3
"""How many plans may follow each other in one pass."""
_SEEN_S: Final = 2.0
"""Seconds to wait for the brokers to show what the controller has just done."""
_SEEN_POLL_S: Final = 0.05
_UNSEEN: Final = "it was done, but the brokers don't know of it yet"
_BUG_S: Final = 60.0


class Describes(Protocol):
    """Describes topics."""

    async def describe(self, topics: Collection[str]) -> Mapping[str, TopicState | KafkaProblem]:
        """Describe some topics again."""
        ...


class Reconciler:
    """Brings Kafka and the cluster to what resources ask for, if possible; never raises for one.

    Raises only LeadershipLost: no further action is allowed then.

    Args:
        deciders: by kind, in the order in which kinds are reconciled.
    """

    def __init__(
        self,
        *,
        deciders: Mapping[str, Decider],
        topics: Describes,
        executor: Executor,
        resources: Resources,
        store: Store,
        replays: ReplayIndex,
        failures: Failures,
        writes: OwnWrites,
        recorder: EventRecorder,
        queue: BatchQueue,
        metrics: OperatorMetrics,
        clock: Clock,
        guard: Guard,
        between_actions: BetweenActions,
        concurrency: int,
    ) -> None:
        self._deciders = deciders
        self._topics = topics
        self._executor = executor
        self._resources = resources
        self._store = store
        self._replays = replays
        self._failures = failures
        self._writes = writes
        self._recorder = recorder
        self._queue = queue
        self._metrics = metrics
        self._clock = clock
        self._guard = guard
        self._between_actions = between_actions
        self._limit = asyncio.Semaphore(concurrency)
        self._log = get_logger(__name__)

    async def reconcile(self, keys: Sequence[Key]) -> None:
        """Reconcile these resources; deleted ones are forgotten."""
        started_s = time.perf_counter()
        for kind, decider in self._deciders.items():
            own = [key for key in keys if key.kind == kind]
            # Opened late: decisions about one kind may depend on the status of another.
            batch = [work for key in own if (work := self._open(key, decider)) is not None]
            try:
                await self._work_off(batch, decider)
            except KubeError as error:
                self._log.warning("reconcile.postponed", resources=len(batch), reason=str(error))
                for work in batch:
                    self._queue.failed(work.key)
                    self._count(work, "failed")
        self._metrics.batch_size.observe(len(keys))
        self._metrics.reconcile_seconds.observe(time.perf_counter() - started_s)

    def _open(self, key: Key, decider: Decider) -> Work | None:
        body = self._store.get(*key)
        if body is None:
            self._failures.forget(key)
            self._writes.forget(key)
            self._queue.forget(key)
            return None
        work = Work(key, body, None)
        try:
            work.desired = decider.parse(body)
        except ValidationError as error:
            problem = error.errors(include_input=False, include_url=False, include_context=False)[0]
            where = ".".join(str(part) for part in problem["loc"])
            reason = f"{where}: {problem['msg']}"
            self._log.warning(
                "resource.invalid",
                kind=key.kind,
                namespace=key.namespace,
                name=key.name,
                reason=reason,
            )
            work.begin(decider.plan_invalid(body, reason, self._now()))
        return work

    async def _work_off(self, batch: Sequence[Work], decider: Decider) -> None:
        rest = list(batch)
        for _ in range(_ROUNDS):
            await self._plan(rest, decider)
            if not any(work.todo for work in rest):
                break
            rest = [work for work in rest if work.todo]
            await self._executor.execute(rest)
            await self._until_seen(rest)
            rest = [work for work in rest if self._reopen(work, decider)]
        else:
            # What the last plan still asks for is done next time; report the current state.
            await self._plan(rest, decider)
        await asyncio.gather(*(self._report(work) for work in batch))

    async def _plan(self, batch: Sequence[Work], decider: Decider) -> None:
        wanted = {work.key: work.desired for work in batch if work.desired is not None}
        if not wanted:
            return
        decisions = await decider.observe(wanted)
        now = self._now()
        for work in batch:
            if work.desired is not None:
                work.begin(self._decide(work.key, decisions[work.key], now))

    def _decide(self, key: Key, decide: Decide, now: datetime) -> Plan:
        try:
            plan = decide(now)
        except Exception:  # noqa: BLE001 - logged, with where it happened
            # A bug that affects one resource must not block the others.
            self._log.exception("plan.failed", namespace=key.namespace, name=key.name)
            return Plan(requeue_after_s=_BUG_S)
        self._failures.keep_only(key, {target(action) for action in plan.actions})
        return plan

    async def _until_seen(self, batch: Sequence[Work]) -> None:
        """Wait for the brokers to show what the controller has just created or changed.

        Busy brokers that don't show it yet aren't asked again at once, which would keep them busy:
        it counts as failed, and is checked again later.
        """
        pending = [
            (work, action)
            for work in batch
            for action in work.done
            if isinstance(action, CreateTopic | AlterConfig)
        ]
        deadline_s = time.monotonic() + _SEEN_S
        while pending:
            states = await self._topics.describe({target(action) for _, action in pending})
            pending = [item for item in pending if _is_unseen(item[1], states[target(item[1])])]
            if not pending or time.monotonic() > deadline_s:
                break
            await asyncio.sleep(_SEEN_POLL_S)
        for work, action in pending:
            work.fail(action)
            failure = Failure(target(action), ProblemKind.UNAVAILABLE, _UNSEEN)
            self._failures.failed(work.key, failure)

    def _reopen(self, work: Work, decider: Decider) -> bool:
        """Take in a resource as the actions have left it; return whether to observe it again."""
        body = self._store.get(*work.key)
        if body is None or work.desired is None:
            # It was deleted with its finalizer, or couldn't be parsed in the first place.
            work.desired = None
            work.begin(Plan())
            return False
        work.body = body
        work.desired = decider.parse(body)
        return True

    async def _report(self, work: Work) -> None:
        """Write the status if it differs, and schedule the next pass."""
        plan = work.plan
        failed = bool(self._failures.of(work.key)) or bool(work.todo)
        if plan.status is not None:
            async with self._limit:
                await self._between_actions()
                self._guard()
                try:
                    patched = await self._resources.patch_status(work.key, dict(plan.status.patch))
                except KubeNotFound:
                    self._store.forget(*work.key)
                    return
                except KubeError as error:
                    self._log.warning("status.failed", name=work.key.name, reason=str(error))
                    is_passing = isinstance(error, KubeUnavailable | KubeConflict)
                    self._queue.failed(work.key)
                    self._count(work, "failed" if not is_passing else "postponed")
                    return
                self._store.put(work.key.kind, patched)
                for replay in self._replays.concerned(work.key):
                    self._queue.add(replay)
                for event in plan.status.events:
                    self._recorder.record(patched, event, "Report")
            work.is_changed = True
        self._arrange(work, plan, failed=failed)

    def _arrange(self, work: Work, plan: Plan, *, failed: bool) -> None:
        if failed:
            self._queue.failed(work.key)
        else:
            self._queue.succeeded(work.key)
        if plan.requeue_after_s is not None:
            self._queue.add(work.key, after_s=plan.requeue_after_s)
        self._count(work, "failed" if failed else "changed" if work.is_changed else "unchanged")

    def _count(self, work: Work, result: str) -> None:
        self._metrics.reconciles.labels(work.key.kind, result).inc()

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC)


def _is_unseen(action: CreateTopic | AlterConfig, state: TopicState | KafkaProblem) -> bool:
    """Whether brokers don't show yet what was done; waiting doesn't help with other problems."""
    if isinstance(state, KafkaProblem):
        return state.kind is ProblemKind.MISSING
    if isinstance(action, CreateTopic):
        return False
    wanted, unwanted = action.change.set, action.change.remove
    return any(state.config.get(key) != value for key, value in wanted.items()) or any(
        key in state.config for key in unwanted
    )
