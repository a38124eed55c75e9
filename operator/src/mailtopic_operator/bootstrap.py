"""The composition root: settings in, a running operator out."""

import asyncio
import secrets
import signal
import socket
from contextlib import AsyncExitStack
from typing import Final

from mailtopic_operator.adapters.kafka_admin import ConfluentAdmin
from mailtopic_operator.adapters.kafka_backlog import ConfluentBacklog
from mailtopic_operator.adapters.kafka_client import KafkaClient
from mailtopic_operator.adapters.kafka_users import ConfluentUsers
from mailtopic_operator.adapters.kube_access import KubeAccess
from mailtopic_operator.adapters.kube_api import KubeApi
from mailtopic_operator.adapters.kube_objects import KubeLease, KubeObjects, KubeResources
from mailtopic_operator.adapters.kube_watch import watch
from mailtopic_operator.adapters.sender_metrics import HttpSenderMetrics
from mailtopic_operator.adapters.watch_freshness import WatchFreshness
from mailtopic_operator.domain.defaults import OperatorDefaults
from mailtopic_operator.engine.assembly import Outside, Parts, assemble
from mailtopic_operator.engine.engine import Engine
from mailtopic_operator.engine.executor import BetweenActions
from mailtopic_operator.engine.health import Health
from mailtopic_operator.engine.last_acts import LastActs
from mailtopic_operator.engine.leadership import Leadership
from mailtopic_operator.errors import KubeError, LeadershipLost
from mailtopic_operator.kinds import MAIL_TOPIC, watched_kinds
from mailtopic_operator.metrics import OperatorMetrics
from mailtopic_operator.settings import OperatorSettings
from mailtopic_runtime import (
    EXIT_OK,
    ProbeServer,
    SettingError,
    SystemClock,
    get_logger,
    process_registry,
    stop_on_signals,
)

EXIT_LOST: Final = 75
"""The lease was lost, or a watch ended for good: restart (EX_TEMPFAIL of sysexits.h)."""

_POLL_S: Final = 1.0
_DRAIN_S: Final = 10.0


async def _go_on() -> None:
    """Do nothing between two actions."""


class Operator:
    """One replica of the operator.

    Args:
        settings: already validated.
        between_actions: called before each change; for tests that end the process there.
    """

    def __init__(
        self, settings: OperatorSettings, *, between_actions: BetweenActions = _go_on
    ) -> None:
        self._settings = settings
        self._between_actions = between_actions
        self._clock = SystemClock()
        self._registry = process_registry("operator")
        self._metrics = OperatorMetrics(self._registry)
        self._freshness = WatchFreshness(self._clock)
        lease = settings.operator.lease
        self._identity = lease.identity or f"{socket.gethostname()}-{secrets.token_hex(4)}"
        self._health = Health(stale_s=settings.operator.watch_stale_s)
        self._last_acts: LastActs | None = None
        self._log = get_logger(__name__)

    async def run(self, stop: asyncio.Event) -> int:
        """Wait for the lease, then lead until stopped; return the exit code."""
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
            if self._last_acts is not None:
                await self._last_acts.perform(self._settings.operator.lease.namespace)
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
        client, senders = self._kafka(), HttpSenderMetrics()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(leadership.keep())
                await self._until_served(objects)
                parts = self._assemble(api, objects, client, senders, leadership)
                await self._until_synchronised(parts.engine)
                served = await parts.observer.served()
                for work in parts.work():
                    tasks.create_task(work)
                self._health.lead(parts.engine, parts.recorder, self._freshness)
                self._last_acts = parts.last_acts
                tasks.create_task(
                    watch(
                        watched_kinds(served),
                        parts.engine.on_event,
                        access.login,
                        identity=self._identity,
                        namespaces=namespaces,
                        after_start=lambda: _stop_on_signals(stop),
                    )
                )
        finally:
            await senders.close()
            await client.close()

    def _kafka(self) -> KafkaClient:
        kafka = self._settings.kafka
        return KafkaClient(
            self._settings.client_config(),
            timeout_s=kafka.request_timeout_s,
            metrics=self._metrics,
        )

    def _users(self, client: KafkaClient, defaults: OperatorDefaults) -> ConfluentUsers | None:
        managed, mechanism = defaults.kafka_users, defaults.kafka.sasl_mechanism
        if managed is None:
            return None
        return ConfluentUsers(client, mechanism=mechanism, prefix=managed.prefix)

    def _assemble(
        self,
        api: KubeApi,
        objects: KubeObjects,
        client: KafkaClient,
        senders: HttpSenderMetrics,
        leadership: Leadership,
    ) -> Parts:
        defaults = self._settings.defaults()
        parts = assemble(
            Outside(
                admin=ConfluentAdmin(client),
                backlog=ConfluentBacklog(client),
                senders=senders,
                objects=objects,
                apis=objects,
                resources=KubeResources(api, self._identity),
                clock=self._clock,
                metrics=self._metrics,
                guard=leadership.check,
                between_actions=self._between_actions,
                users=self._users(client, defaults),
            ),
            self._settings.operator.reconcile.limits(),
            defaults,
        )
        self._metrics.watch(
            queue_depth=lambda: len(parts.queue),
            watch_age_s=lambda: max(self._freshness.ages_s().values(), default=0.0),
            mailtopics=lambda: parts.store.bodies(MAIL_TOPIC.kind),
        )
        return parts

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
    """Run one replica until SIGTERM or SIGINT; return the exit code."""
    return await Operator(settings, between_actions=between_actions).run(stop_on_signals())
