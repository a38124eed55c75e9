"""Carries out a batch's actions: Kafka's in shared requests, the cluster's one by one."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from mailtopic_operator.domain.actions import (
    KAFKA_USER_ACTIONS,
    Action,
    AddFinalizer,
    AlterConfig,
    ApplyChild,
    ClaimKafkaUser,
    ClaimTopics,
    CreateTopic,
    DeleteChild,
    DeleteTopic,
    DropKafkaUser,
    DropPassword,
    Event,
    IncreasePartitions,
    MakePassword,
    PruneChild,
    RemoveFinalizer,
    SetAcls,
    SetKafkaUser,
    Side,
    side,
    target,
)
from mailtopic_operator.domain.children import is_ours
from mailtopic_operator.domain.desired import Meta
from mailtopic_operator.domain.field_sets import in_words
from mailtopic_operator.domain.kafka import KafkaProblem, ProblemKind
from mailtopic_operator.domain.observed import Failure
from mailtopic_operator.engine.failures import Failures, kube_failure
from mailtopic_operator.engine.own_writes import OwnWrites
from mailtopic_operator.engine.recorder import EventRecorder
from mailtopic_operator.engine.store import Store
from mailtopic_operator.engine.user_keeper import UserKeeper
from mailtopic_operator.engine.work import Work
from mailtopic_operator.errors import KubeConflict, KubeError, KubeForbidden, KubeNotFound
from mailtopic_operator.kinds import MAIL_TOPIC
from mailtopic_operator.metrics import OperatorMetrics
from mailtopic_operator.model.mailtopic import FINALIZER
from mailtopic_operator.ports import Json, KafkaAdmin, Objects, Resources
from mailtopic_runtime import Clock, get_logger

BetweenActions = Callable[[], Awaitable[None]]
"""Called before each change; a test may end the process in it."""

Guard = Callable[[], None]
"""Raises LeadershipLost if this replica may not act any more."""

_ORDER: Final[Sequence[type[Action]]] = (
    AddFinalizer,
    ClaimTopics,
    CreateTopic,
    IncreasePartitions,
    AlterConfig,
    ClaimKafkaUser,
    MakePassword,
    SetKafkaUser,
    SetAcls,
    DropKafkaUser,
    DropPassword,
    ApplyChild,
    PruneChild,
    DeleteChild,
    DeleteTopic,
    RemoveFinalizer,
)
_HARMLESS: Final[Mapping[type[Action], frozenset[ProblemKind]]] = {
    CreateTopic: frozenset({ProblemKind.EXISTS}),
    IncreasePartitions: frozenset(),
    AlterConfig: frozenset(),
    DeleteTopic: frozenset({ProblemKind.MISSING}),
}


class Executor:
    """Carries out actions; one that fails is kept as a Failure."""

    def __init__(
        self,
        *,
        admin: KafkaAdmin,
        users: UserKeeper,
        objects: Objects,
        resources: Resources,
        store: Store,
        failures: Failures,
        writes: OwnWrites,
        recorder: EventRecorder,
        metrics: OperatorMetrics,
        clock: Clock,
        guard: Guard,
        between_actions: BetweenActions,
        concurrency: int,
    ) -> None:
        self._admin = admin
        self._users = users
        self._objects = objects
        self._resources = resources
        self._store = store
        self._failures = failures
        self._writes = writes
        self._recorder = recorder
        self._metrics = metrics
        self._clock = clock
        self._guard = guard
        self._between_actions = between_actions
        self._limit = asyncio.Semaphore(concurrency)
        self._log = get_logger(__name__)

    async def execute(self, batch: Sequence[Work]) -> None:
        """Carry out all actions, each resource's in order."""
        while any(work.todo for work in batch):
            heads = {type(work.todo[0]) for work in batch if work.todo}
            kind = next(kind for kind in _ORDER if kind in heads)
            runs = [(work, work.take_run(kind)) for work in batch]
            runs = [(work, run) for work, run in runs if run]
            if side(runs[0][1][0]) is Side.KAFKA:
                await self._step()
                await self._in_kafka(kind, [(work, each) for work, run in runs for each in run])
            else:
                await asyncio.gather(*(self._in_cluster(work, run) for work, run in runs))

    async def _step(self) -> None:
        await self._between_actions()
        self._guard()

    async def _in_kafka(self, kind: type[Action], items: Sequence[tuple[Work, Action]]) -> None:
        answers = await self._ask_kafka(kind, [action for _, action in items])
        for work, action in items:
            problem = answers.get(target(action))
            if problem is None or problem.kind in _HARMLESS.get(kind, ()):
                self._succeeded(work, action)
            else:
                failure = Failure(target(action), problem.kind, problem.message)
                self._failed(work, action, failure)

    async def _ask_kafka(
        self, kind: type[Action], actions: Sequence[Action]
    ) -> Mapping[str, KafkaProblem | None]:
        if kind in KAFKA_USER_ACTIONS:
            return await self._users.carry_out(actions)
        if kind is CreateTopic:
            return await self._admin.create(
                [a.topic for a in actions if isinstance(a, CreateTopic)]
            )
        if kind is IncreasePartitions:
            wanted = {a.name: a.total for a in actions if isinstance(a, IncreasePartitions)}
            return await self._admin.grow(wanted)
        if kind is AlterConfig:
            return await self._admin.alter(
                [a.change for a in actions if isinstance(a, AlterConfig)]
            )
        return await self._admin.delete([a.name for a in actions if isinstance(a, DeleteTopic)])

    async def _in_cluster(self, work: Work, run: Sequence[Action]) -> None:
        for action in run:
            async with self._limit:
                await self._step()
                try:
                    await self._change(work, action)
                except KubeError as error:
                    self._failed(work, action, kube_failure(target(action), error))
                    continue
            self._succeeded(work, action)

    async def _change(self, work: Work, action: Action) -> None:
        namespace = work.key.namespace
        match action:
            case AddFinalizer() | RemoveFinalizer():
                await self._set_finalizer(work, there=isinstance(action, AddFinalizer))
            case ClaimTopics() | ClaimKafkaUser():
                patched = await self._resources.patch_status(work.key, dict(action.patch))
                self._store.put(work.key.kind, patched)
                work.body = patched
            case MakePassword():
                await self._users.make_password(action)
            case DropPassword():
                await self._users.drop_password(namespace, action)
            case ApplyChild():
                await self._apply(work, action)
            case PruneChild():
                await self._prune(namespace, action)
            case DeleteChild():
                ref = action.ref
                await self._objects.delete(
                    ref.kind, namespace, ref.name, uid=action.uid, propagation=action.propagation
                )
                if action.propagation == "Background":
                    self._store.forget(ref.kind, namespace, ref.name)
            case _:
                raise AssertionError("Kafka's actions are carried out elsewhere")

    async def _apply(self, work: Work, action: ApplyChild) -> None:
        kind, manifest = action.ref.kind, _plain(action.manifest)
        try:
            # What seems to be missing may be a foreign object, which isn't visible to us.
            applied = await self._objects.apply(kind, manifest, force=action.why != "missing")
        except KubeConflict:
            if action.why != "missing":
                raise
            live = await self._objects.read(kind, work.key.namespace, action.ref.name)
            if not is_ours(live, Meta.parse(work.body)):
                raise KubeForbidden(f"{action.ref} is there already and isn't ours") from None
            applied = await self._objects.apply(kind, manifest, force=True)
        self._store.put(kind, applied)
        if work.key.kind == MAIL_TOPIC.kind:
            self._compare(work, action, manifest, applied)

    def _compare(self, work: Work, action: ApplyChild, manifest: Json, applied: Json) -> None:
        """Take note of what admission has changed, which applying again wouldn't put back."""
        path = self._writes.returned(work.key, manifest, applied)
        if path is not None:
            message = f"admission changes {action.ref}: {in_words(path)}; it is left so"
            event = Event("Warning", "ChangedByAdmission", message)
            self._recorder.record(work.body, event, type(action).__name__)

    async def _prune(self, namespace: str, action: PruneChild) -> None:
        operations = [dict(operation) for operation in action.patch]
        try:
            pruned = await self._objects.patch(
                action.ref.kind, namespace, action.ref.name, operations
            )
        except (KubeConflict, KubeNotFound):
            return
        self._store.put(action.ref.kind, pruned)

    async def _set_finalizer(self, work: Work, *, there: bool) -> None:
        meta = work.body["metadata"]
        others = [each for each in meta.get("finalizers") or () if each != FINALIZER]
        try:
            patched = await self._resources.patch_finalizers(
                work.key,
                [*others, FINALIZER] if there else others,
                version=meta["resourceVersion"],
            )
        except KubeNotFound:
            if there:
                raise
            return
        if patched["metadata"].get("deletionTimestamp") and not patched["metadata"].get(
            "finalizers"
        ):
            self._store.forget(*work.key)
            return
        self._store.put(work.key.kind, patched)
        work.body = patched

    def _succeeded(self, work: Work, action: Action) -> None:
        work.succeed(action)
        self._failures.succeeded(work.key, target(action))
        now = datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC)
        self._writes.wrote(work.key, action, now)
        self._metrics.actions.labels(type(action).__name__, "done").inc()
        self._count_drift(work, action)
        self._log.info(
            "action.done",
            action=type(action).__name__,
            target=target(action),
            namespace=work.key.namespace,
            name=work.key.name,
        )
        if action.event is not None:
            self._recorder.record(work.body, action.event, type(action).__name__)

    def _failed(self, work: Work, action: Action, failure: Failure) -> None:
        work.fail(action)
        self._failures.failed(work.key, failure)
        self._metrics.actions.labels(type(action).__name__, failure.kind.value).inc()
        self._log.warning(
            "action.failed",
            action=type(action).__name__,
            target=failure.target,
            namespace=work.key.namespace,
            name=work.key.name,
            reason=failure.kind.value,
            problem=failure.message,
        )

    def _count_drift(self, work: Work, action: Action) -> None:
        is_drift = isinstance(action, PruneChild) or (
            isinstance(action, ApplyChild) and action.why == "drift"
        )
        if is_drift:
            self._metrics.drift_corrections.labels("kubernetes").inc()
        elif isinstance(action, AlterConfig | SetAcls | SetKafkaUser) and work.is_settled:
            self._metrics.drift_corrections.labels("kafka").inc()


def _plain(value: Any) -> Any:
    """Return nested mappings and sequences as JSON types."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
