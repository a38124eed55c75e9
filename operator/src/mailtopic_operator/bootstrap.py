"""The composition root: settings in, a running operator out."""

import asyncio
import secrets
import signal
import socket
from contextlib import AsyncExitStack
from typing import Final

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from mailtopic_operator.adapters.kafka_admin import ConfluentAdmin
from mailtopic_operator.adapters.kafka_backlog import ConfluentBacklog
from mailtopic_operator.adapters.kafka_client import KafkaClient
from mailtopic_operator.adapters.kube_access import KubeAccess
from mailtopic_operator.adapters.kube_api import KubeApi
from mailtopic_operator.adapters.kube_objects import KubeLease, KubeObjects, KubeResources
from mailtopic_operator.adapters.kube_watch import watch
from mailtopic_operator.adapters.watch_freshness import WatchFreshness
from mailtopic_operator.domain import planning
from mailtopic_operator.engine.backlog import BacklogSampler
from mailtopic_operator.engine.claims import Claims
from mailtopic_operator.engine.engine import Engine
from mailtopic_operator.engine.executor import BetweenActions, Executor
from mailtopic_operator.engine.failures import Failures
from mailtopic_operator.engine.health import Health
from mailtopic_operator.engine.kafka_gate import KafkaGate
from mailtopic_operator.engine.leadership import Leadership
from mailtopic_operator.engine.observer import Observer
from mailtopic_operator.engine.queue import BatchQueue
from mailtopic_operator.engine.reconciler import Reconciler
from mailtopic_operator.engine.store import Store
from mailtopic_operator.errors import KubeError, LeadershipLost
from mailtopic_operator.kinds import CHILD_KINDS, MAIL_TOPIC, OWN_KINDS
from mailtopic_operator.metrics import OperatorMetrics
from mailtopic_operator.settings import OperatorSettings
from mailtopic_runtime import (
    EXIT_OK,
    ProbeServer,
    SettingError,
    SystemClock,
    get_logger,
    stop_on_signals,
)

EXIT_LOST: Final = 75
"""The lease was lost, or a watch ended for good: start again (EX_TEMPFAIL of sysexits.h)."""

_POLL_S: Final = 1.0
_DRAIN_S: Final = 10.0


async def _go_on() -> None:
    """Do nothing between two actions."""


class Operator:
    """One replica of the operator.

    Args:
        settings: checked already.
        between_actions: called before anything is changed; for tests that end the process there.
    """

    def __init__(
        self, settings: OperatorSettings, *, between_actions: BetweenActions = _go_on
    ) -> None:
        self._settings = settings
        self._between_actions = between_actions
        self._clock = SystemClock()
        self._registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._registry)
        self._metrics = OperatorMetrics(self._registry)
        self._freshness = WatchFreshness(self._clock)
        lease = settings.operator.lease
        self._identity = lease.identity or f"{socket.gethostname()}-{secrets.token_hex(4)}"
        self._health = Health(stale_s=settings.operator.watch_stale_s)
        self._log = get_logger(__name__)

    async def run(self, stop: asyncio.Event) -> int:
        """Lead, when it is this replica's turn, until stopped; return the exit code."""
        async with AsyncExitStack() as stack:
            probes = ProbeServer(
                self._settings.metrics,
                self._registry,
                live=self._health.liveness,
                ready=self._health.readiness,
            )
            probes.start()
            stack.callback(probes.stop)
            access = await KubeAccess.load(self._metrics, self._freshness)
            stack.push_async_callback(access.close)
            self._log.info("operator.started", identity=self._identity, metrics_port=probes.port)
            return await self._compete(KubeApi(access.client), access, stop)

    async def _compete(self, api: KubeApi, access: KubeAccess, stop: asyncio.Event) -> int:
        lease = self._settings.operator.lease
        leadership = Leadership(
            KubeLease(api, lease.namespace, lease.name),
            identity=self._identity,
            duration_s=lease.duration_s,
            renew_s=lease.renew_s,
            clock=self._clock,
            metrics=self._metrics,
        )
        leading = asyncio.create_task(self._lead(api, access, leadership, stop))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({leading, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        code = await self._end(leading)
        await leadership.release()
        self._log.info("operator.stopped", code=code)
        return code

    async def _end(self, leading: "asyncio.Task[None]") -> int:
        if not leading.done():
            await self._health.idle(_DRAIN_S)
            leading.cancel()
        await asyncio.wait({leading})
        if leading.cancelled():
            return EXIT_OK
        error = leading.exception()
        if isinstance(error, ExceptionGroup) and error.subgroup(SettingError):
            raise error
        if not (isinstance(error, ExceptionGroup) and error.subgroup(LeadershipLost)):
            self._log.error("operator.failed", exc_info=error)
        return EXIT_LOST

    async def _lead(
        self, api: KubeApi, access: KubeAccess, leadership: Leadership, stop: asyncio.Event
    ) -> None:
        await leadership.acquire()
        namespaces = self._settings.operator.watch_namespaces
        objects = KubeObjects(api, namespaces)
        client = KafkaClient(
            self._settings.client_config(),
            timeout_s=self._settings.kafka.request_timeout_s,
            metrics=self._metrics,
        )
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(leadership.keep())
                await self._until_served(objects)
                engine, gate, observer = self._assemble(api, objects, client, leadership)
                await self._until_synchronised(engine)
                served = await observer.served()
                kinds = [k for k in CHILD_KINDS if not k.is_optional or k.kind in served]
                for work in (gate.watch(), engine.work(), engine.resync(), engine.sample()):
                    tasks.create_task(work)
                self._health.lead(engine, self._freshness)
                tasks.create_task(
                    watch(
                        [*OWN_KINDS, *kinds],
                        engine.on_event,
                        access.login,
                        namespaces=namespaces,
                        after_start=lambda: _stop_on_signals(stop),
                    )
                )
        finally:
            await client.close()

    def _assemble(
        self, api: KubeApi, objects: KubeObjects, client: KafkaClient, leadership: Leadership
    ) -> tuple[Engine, KafkaGate, Observer]:
        settings = self._settings.operator.reconcile
        defaults = self._settings.defaults()
        store, claims, failures = Store(), Claims(), Failures()
        queue = BatchQueue(self._clock, batch_size=settings.batch_size, linger_s=settings.linger_s)
        resources = KubeResources(api, self._identity)
        backlog = BacklogSampler(ConfluentBacklog(client), self._clock)
        gate = KafkaGate(ConfluentAdmin(client))
        observer = Observer(
            admin=gate,
            objects=objects,
            apis=objects,
            store=store,
            claims=claims,
            failures=failures,
            backlog=backlog,
            clock=self._clock,
            concurrency=settings.api_concurrency,
        )
        executor = Executor(
            admin=gate,
            objects=objects,
            resources=resources,
            store=store,
            failures=failures,
            metrics=self._metrics,
            guard=leadership.check,
            between_actions=self._between_actions,
            concurrency=settings.api_concurrency,
        )
        reconciler = Reconciler(
            planner=planning,
            observer=observer,
            executor=executor,
            resources=resources,
            store=store,
            failures=failures,
            queue=queue,
            metrics=self._metrics,
            defaults=defaults,
            clock=self._clock,
            guard=leadership.check,
            concurrency=settings.api_concurrency,
        )
        engine = Engine(
            objects=objects,
            store=store,
            claims=claims,
            queue=queue,
            observer=observer,
            reconciler=reconciler,
            backlog=backlog,
            defaults=defaults,
            metrics=self._metrics,
            clock=self._clock,
            resync_s=settings.resync_s,
            sample_s=settings.sample_s,
        )
        gate.on_back = engine.requeue_all
        self._metrics.watch(
            queue_depth=lambda: len(queue),
            watch_age_s=lambda: max(self._freshness.ages_s().values(), default=0.0),
        )
        return engine, gate, observer

    async def _until_served(self, objects: KubeObjects) -> None:
        said = False
        while not await self._serves_our_kind(objects):
            if not said:
                self._log.warning("crd.missing", kind=MAIL_TOPIC.kind)
                said = True
            await asyncio.sleep(_POLL_S)

    async def _serves_our_kind(self, objects: KubeObjects) -> bool:
        try:
            return await objects.serves(MAIL_TOPIC.kind)
        except KubeError:
            return False

    async def _until_synchronised(self, engine: Engine) -> None:
        while not engine.is_synchronised:
            try:
                await engine.synchronise()
            except KubeError as error:
                self._log.warning("synchronise.postponed", reason=str(error))
                await asyncio.sleep(_POLL_S)


def _stop_on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)


async def run_operator(
    settings: OperatorSettings, *, between_actions: BetweenActions = _go_on
) -> int:
    """Run one replica until SIGTERM or SIGINT; returns the exit code."""
    return await Operator(settings, between_actions=between_actions).run(stop_on_signals())
