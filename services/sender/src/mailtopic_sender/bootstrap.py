"""The composition root: settings in, a running sender out."""

import asyncio
import gc
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from mailtopic_client import KafkaClient
from mailtopic_contract import HEADER_ROOM_BYTES, KeyRing, KeyRingError, LegacyDefaults
from mailtopic_runtime import (
    Clock,
    ProbeServer,
    SettingError,
    SystemClock,
    get_logger,
    open_tracer,
    process_registry,
    stop_on_signals,
)
from mailtopic_sender.adapters.dkim_files import load_signer
from mailtopic_sender.adapters.kafka_monitor import KafkaMonitor, silence_client_logs
from mailtopic_sender.adapters.kafka_source import KafkaSource
from mailtopic_sender.adapters.kafka_status import KafkaStatusLog
from mailtopic_sender.adapters.kafka_topics import KafkaTopics
from mailtopic_sender.adapters.relay_metrics import RelayMetrics
from mailtopic_sender.adapters.smtp_relay import SmtpRelay
from mailtopic_sender.adapters.template_files import load_templates
from mailtopic_sender.adapters.topic_states import TopicStates
from mailtopic_sender.adapters.topic_watch import TopicWatch
from mailtopic_sender.domain.dkim import DkimSigner
from mailtopic_sender.domain.message import MessageComposer
from mailtopic_sender.domain.templates import TemplateError, TemplateSet
from mailtopic_sender.engine.delivery import Delivery
from mailtopic_sender.engine.dlq_gate import DlqGate
from mailtopic_sender.engine.endings import DeliveryPolicy
from mailtopic_sender.engine.flood_gate import FloodGate
from mailtopic_sender.engine.lanes import Slots
from mailtopic_sender.engine.ledger import Ledger
from mailtopic_sender.engine.pace_carrier import PaceCarrier
from mailtopic_sender.engine.progress import Progress, ProgressLimits, Watchdog, Workload
from mailtopic_sender.engine.pump import Pump, PumpSettings
from mailtopic_sender.engine.recorder import Recorder
from mailtopic_sender.engine.refusal_gate import RefusalGate
from mailtopic_sender.engine.relays.mailer import RelayMailer
from mailtopic_sender.engine.relays.state import RelayState
from mailtopic_sender.engine.shares import RateShares
from mailtopic_sender.engine.telling import Teller
from mailtopic_sender.engine.tiers import NoHold, TierHold
from mailtopic_sender.mail_ports import Mailer
from mailtopic_sender.metrics import SenderMetrics
from mailtopic_sender.ports import MeteredSource
from mailtopic_sender.settings import DkimSettings, MailSettings, SenderSettings

T = TypeVar("T")

_ROLES = ("", ".retry")
"""The suffixes of the group's name for a sender's two consumers."""

_BATCH_ROOM_BYTES = 4096
"""What Kafka's framing adds to the largest record."""


class Sender:
    """One sender process.

    Args:
        settings: already checked, except files, which are read here.

    Raises:
        SettingError: a file that a setting names can't be used.
    """

    def __init__(self, settings: SenderSettings) -> None:
        self._settings = settings
        self._kwargs = settings.kafka.client_kwargs()
        self._clock: Clock = SystemClock()
        self._keyring = _keyring(settings.sealing.keys_file)
        relays = settings.open_relays()
        mailer = RelayMailer(map(SmtpRelay, relays), open_composer(settings))
        self._mailer: Mailer = mailer
        accounts = {relay.name: relay.account for relay in relays}
        self._paces = {
            # Only partitions of the main topic carry limits: a limit must not be summed up twice.
            "main": PaceCarrier(mailer, accounts, self._clock),
            "retry": PaceCarrier(mailer, {}, self._clock),
        }
        self._tracer = open_tracer(
            settings.tracing, service="mailtopic-sender", version=version("mailtopic-sender")
        )
        self._monitor = KafkaMonitor(self._kwargs)
        self._relays: Callable[[], Sequence[RelayState]] = lambda: mailer.relays
        self._progress = Progress(
            self._clock,
            broker_answers=lambda: self._monitor.answers,
            workload=self._workload,
            limits=ProgressLimits(
                stall_s=settings.watchdog.stall_timeout_s,
                standstill_s=settings.consumer.session_timeout_s,
            ),
        )
        self._registry = process_registry("sender")
        self._registry.register(RelayMetrics(self._relays, topic=settings.topic))
        self._metrics = SenderMetrics(
            self._registry, settings.topic, relays=[relay.relay for relay in mailer.relays]
        )
        self._states = TopicStates(settings.names.all)
        self._topics: KafkaTopics | None = None
        self._watch: TopicWatch | None = None
        self._pumps: Sequence[Pump] = ()
        self._flood: FloodGate | None = None
        self._refusals: RefusalGate | None = None
        self._dlq: DlqGate | None = None
        self._delivery: Delivery | None = None
        self._log = get_logger(__name__)

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until stopped."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._tracer.close)
            probes = ProbeServer(
                self._settings.metrics,
                self._registry,
                live=self._progress.unhealthy,
                ready=self._problem,
            )
            probes.start()
            stack.callback(probes.stop)
            watchdog = Watchdog(self._progress)
            watchdog.start()
            stack.callback(watchdog.stop)
            for work in (self._progress.tick(), self._monitor.watch()):
                stack.push_async_callback(_end, asyncio.create_task(work))
            self._log.info("sender.started", topic=self._settings.topic, metrics_port=probes.port)
            await self._consume(stop)
        self._log.info("sender.stopped")

    async def _consume(self, stop: asyncio.Event) -> None:
        settings = self._settings
        topics = KafkaTopics(
            self._kwargs,
            settings.names,
            partitions=settings.topics.partitions,
            replication=settings.topics.replication,
        )
        self._topics = topics
        facts = await _unless(stop, topics.ensure())
        if facts is None:
            return
        self._monitor.outcomes_topic = settings.names.status
        self._monitor.topics = self._watch = TopicWatch(
            settings.names, topics, self._states, [f"{settings.group_id}{role}" for role in _ROLES]
        )
        broker = KafkaClient(
            settings.kafka,
            client_id="mailtopic-sender",
            # An outcome is published once, however long the broker is down.
            publish_timeout_s=None,
            max_request_bytes=facts.max_record_bytes + HEADER_ROOM_BYTES + _BATCH_ROOM_BYTES,
        )
        self._pumps = self._make_pumps(broker, facts.max_record_bytes + HEADER_ROOM_BYTES)
        await self._mailer.start()
        try:
            async with asyncio.TaskGroup() as tasks:
                for pump in self._pumps:
                    tasks.create_task(pump.run(stop))
        finally:
            await self._mailer.close()
            if self._delivery is not None:
                self._delivery.close()
            if self._dlq is not None:
                self._dlq.close()
            await broker.close()

    def _make_pumps(self, broker: KafkaClient, max_record_bytes: int) -> tuple[Pump, ...]:
        settings, names = self._settings, self._settings.names
        skipped = self._metrics.status_records_skipped.inc
        served = self._watch.served if self._watch is not None else lambda: None
        ledger = Ledger(KafkaStatusLog(self._kwargs, names.status, skipped=skipped, served=served))
        shares = RateShares(self._mailer.set_share)
        slots = Slots(settings.delivery.max_in_flight)
        self._flood = FloodGate(
            settings.dlq.limits, slots=slots, metrics=self._metrics, clock=self._clock
        )
        self._refusals = RefusalGate(slots=slots, metrics=self._metrics, clock=self._clock)
        self._dlq = dlq = DlqGate(
            names.dlq, slots=slots, broker_answers=lambda: self._monitor.answers
        )
        self._delivery = delivery = self._make_delivery(
            broker, ledger, dlq, self._flood, self._refusals
        )
        tier_hold = TierHold(dict(zip(names.retries, names.tiers, strict=True)))
        return tuple(
            Pump(
                self._source(topics, role, max_record_bytes),
                delivery,
                hold=hold,
                ledger=ledger,
                dlq=dlq,
                slots=slots,
                settings=PumpSettings(
                    name=name,
                    max_held_records=2 * settings.delivery.max_in_flight,
                    drain_timeout_s=settings.delivery.drain_timeout_s,
                ),
                progress=self._progress,
                metrics=self._metrics,
                clock=self._clock,
                share=shares.of(name),
                pace=self._paces[name],
            )
            for name, topics, role, hold in (
                ("main", (names.main,), _ROLES[0], NoHold()),
                ("retry", names.retries, _ROLES[1], tier_hold),
            )
        )

    def _make_delivery(
        self,
        broker: KafkaClient,
        ledger: Ledger,
        dlq: DlqGate,
        flood: FloodGate,
        refusals: RefusalGate,
    ) -> Delivery:
        delivery = self._settings.delivery
        recorder = Recorder(
            broker,
            self._settings.names,
            ledger=ledger,
            metrics=self._metrics,
            clock=self._clock,
            dlq=dlq,
            broker_answers=lambda: self._monitor.answers,
        )
        policy = DeliveryPolicy(
            tiers=delivery.tiers,
            legacy=LegacyDefaults(
                locale=self._settings.template.default_locale,
                max_age_ms=round(delivery.max_age_s * 1000),
            ),
            resend_unknown=delivery.on_unknown == "Resend",
            superseding_purposes=frozenset(delivery.superseding_purposes),
        )
        return Delivery(
            self._mailer,
            recorder,
            policy=policy,
            ledger=ledger,
            keyring=self._keyring,
            flood=flood,
            refusals=refusals,
            teller=Teller(
                tracer=self._tracer,
                metrics=self._metrics,
                clock=self._clock,
                keyring=self._keyring,
            ),
            metrics=self._metrics,
            clock=self._clock,
        )

    def _source(self, topics: Sequence[str], role: str, max_record_bytes: int) -> MeteredSource:
        """Create a consumer with its own group; role distinguishes the two of a process."""
        instance_id = self._settings.consumer.instance_id
        return KafkaSource(
            self._kwargs,
            topics=topics,
            group=f"{self._settings.group_id}{role}",
            instance_id=f"{instance_id}{role}" if instance_id else None,
            session_timeout_s=self._settings.consumer.session_timeout_s,
            rebalance_timeout_s=self._settings.consumer.rebalance_timeout_s,
            max_record_bytes=max_record_bytes,
            count_gone=self._metrics.records_gone.inc,
            states=self._states,
        )

    def _workload(self) -> Workload:
        """The watchdog's input; called from its thread and from the probes'."""
        relays = self._relays()
        steps = sum(pump.steps for pump in self._pumps)
        replies = sum(sum(relay.replies.values()) for relay in relays)
        # Mails behind too many dead or refused ones, or without a DLQ, wait for an operator.
        is_flooded = any(
            gate is not None and gate.waiting for gate in (self._flood, self._refusals, self._dlq)
        )
        now_s = self._clock.monotonic_s()
        is_pausing = any(relay.is_pausing(now_s) for relay in relays)
        return Workload(
            is_waiting=self._mailer.is_available
            and not is_flooded
            and not is_pausing
            and any(p.held_records for p in self._pumps),
            is_transmitting=any(relay.connections.busy for relay in relays),
            done=steps + replies,
        )

    def _problem(self) -> str | None:
        """Why this sender isn't ready, as text. An unreachable relay is no reason.

        A missing token is: a new sender that can't get one must not replace an old one.
        """
        if self._monitor.problem:
            return self._monitor.problem
        if self._watch is None or not self._pumps:
            return (self._topics and self._topics.problem) or "the topics are not there yet"
        problems = [self._watch.problem, *(pump.problem for pump in self._pumps)]
        problems.append(self._dlq.problem if self._dlq is not None else None)
        problems += [
            f"relay {relay.relay}: no token: {relay.login_problem}"
            for relay in self._relays()
            if relay.login_problem is not None
        ]
        return next((each for each in problems if each), None)


def _keyring(keys_file: Path | None) -> KeyRing | None:
    if keys_file is None:
        return None
    try:
        return KeyRing.load(keys_file)
    except KeyRingError as error:
        raise SettingError("MAILTOPIC_SEALING__KEYS_FILE", str(error)) from None


def open_composer(settings: MailSettings) -> MessageComposer:
    """Return the composer that renders and signs mails, with its templates and keys read.

    Raises:
        SettingError: a file that a setting names can't be used.
    """
    address = settings.from_address()
    directory = settings.template.directory
    own = load_templates(directory) if directory is not None else None
    try:
        templates = TemplateSet(own, default_locale=settings.template.default_locale)
    except TemplateError as error:
        raise SettingError("MAILTOPIC_TEMPLATE__DEFAULT_LOCALE", str(error)) from None
    return MessageComposer(
        templates,
        from_name=settings.mail_from.name,
        from_address=address,
        signer=_signer(settings.dkim, address.domain),
    )


def _signer(dkim: DkimSettings, from_domain: str) -> DkimSigner | None:
    if dkim.keys_directory is None:
        return None
    return load_signer(dkim.domain or from_domain, dkim.selectors, dkim.keys_directory)


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """Return the work's result; None if the process is to stop before that."""
    working = asyncio.create_task(work)
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        await _end(working)
        await _end(stopping)


async def _end(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError, Exception):
        await task


async def run_sender(settings: SenderSettings) -> int:
    """Run one sender until SIGTERM or SIGINT; returns the exit code."""
    silence_client_logs(settings.log.level)
    sender = Sender(settings)
    _spare_collections()
    await sender.run(stop_on_signals())
    return 0


def _spare_collections() -> None:
    """Run the cycle collector less often: mails leave no cycles, and each run delays them."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
