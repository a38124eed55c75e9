"""The engine on its shipped fakes: real code between a topic in memory and a mailer in memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

from prometheus_client import CollectorRegistry

from mailtopic_client import HeaderList
from mailtopic_contract import (
    KeyRing,
    LegacyDefaults,
    MailHeaders,
    Outcome,
    StatusEvent,
    TopicNames,
    decode_status,
    new_record,
)
from mailtopic_runtime import NO_TRACER, ManualClock, Tracer
from mailtopic_sender.adapters.memory_mailer import MemoryMailer
from mailtopic_sender.adapters.memory_source import MemoryKafka, MemorySource, MemoryStatusLog
from mailtopic_sender.domain.flood import FloodLimits
from mailtopic_sender.domain.refusals import RefusalLimits
from mailtopic_sender.engine.delivery import Delivery, DeliveryPolicy
from mailtopic_sender.engine.flood_gate import FloodGate
from mailtopic_sender.engine.lanes import Slots
from mailtopic_sender.engine.ledger import Ledger
from mailtopic_sender.engine.progress import Progress
from mailtopic_sender.engine.pump import Pump, PumpSettings
from mailtopic_sender.engine.recorder import Recorder
from mailtopic_sender.engine.refusal_gate import RefusalGate
from mailtopic_sender.engine.telling import Teller
from mailtopic_sender.engine.tiers import Gate, OpenGate, TierGate
from mailtopic_sender.mail_ports import Mailer
from mailtopic_sender.metrics import SenderMetrics

NAMES = TopicNames("mails")
PLACE_KEY = b"0123456789abcdef"


@dataclass
class Engine:
    """One process's worth of engine; several share one `kafka`."""

    kafka: MemoryKafka = field(default_factory=MemoryKafka)
    mailer: MemoryMailer = field(default_factory=MemoryMailer)
    clock: ManualClock = field(default_factory=ManualClock)
    resend_unknown: bool = True
    max_in_flight: int = 10
    max_held_records: int = 20
    drain_timeout_s: float = 5.0
    pause_after_s: float = 0.02
    keyring: KeyRing | None = None
    real_mailer: Mailer | None = None
    flood_limits: FloodLimits = field(default_factory=FloodLimits)
    refusal_limits: RefusalLimits = field(default_factory=RefusalLimits)
    tracer: Tracer = NO_TRACER
    metrics_type: type[SenderMetrics] = SenderMetrics

    def __post_init__(self) -> None:
        self.kafka.now_ms = self.clock.now_ms
        self.registry = CollectorRegistry()
        self.metrics = self.metrics_type(self.registry, NAMES.main)
        self.ledger = Ledger(MemoryStatusLog(self.kafka, NAMES.status))
        recorder = Recorder(
            self.kafka, NAMES, ledger=self.ledger, metrics=self.metrics, clock=self.clock
        )
        self.slots = Slots(self.max_in_flight)
        self.flood = FloodGate(
            self.flood_limits,
            slots=self.slots,
            metrics=self.metrics,
            clock=self.clock,
            look_s=0.01,
        )
        self.refusals = RefusalGate(
            self.refusal_limits,
            slots=self.slots,
            metrics=self.metrics,
            clock=self.clock,
            look_s=0.01,
        )
        self.delivery = Delivery(
            self.real_mailer or self.mailer,
            recorder,
            policy=DeliveryPolicy(
                tiers=NAMES.tiers,
                legacy=LegacyDefaults(locale="ru", max_age_ms=600_000),
                resend_unknown=self.resend_unknown,
            ),
            ledger=self.ledger,
            keyring=self.keyring,
            flood=self.flood,
            refusals=self.refusals,
            teller=Teller(
                tracer=self.tracer,
                metrics=self.metrics,
                clock=self.clock,
                keyring=self.keyring,
            ),
            metrics=self.metrics,
            clock=self.clock,
        )
        self.source = MemorySource(self.kafka, topics=[NAMES.main], group="mails")
        self.retry_source = MemorySource(self.kafka, topics=NAMES.retries, group="mails.retry")

    def pump(self, name: str = "main") -> Pump:
        is_main = name == "main"
        gates: dict[bool, Gate] = {
            True: OpenGate(),
            False: TierGate(dict(zip(NAMES.retries, NAMES.tiers, strict=True))),
        }
        return Pump(
            self.source if is_main else self.retry_source,
            self.delivery,
            gate=gates[is_main],
            ledger=self.ledger,
            slots=self.slots,
            settings=PumpSettings(
                name=name,
                max_held_records=self.max_held_records,
                commit_interval_s=0.01,
                poll_timeout_s=0.01,
                pause_after_s=self.pause_after_s,
                drain_timeout_s=self.drain_timeout_s,
            ),
            progress=Progress(self.clock, broker_answers=lambda: True),
            metrics=self.metrics,
            clock=self.clock,
            share=self.mailer.set_share,
        )

    @asynccontextmanager
    async def running(self, name: str = "main") -> AsyncIterator[Pump]:
        """A pump that runs, and is stopped in good order at the end."""
        stop, pump = asyncio.Event(), self.pump(name)
        task = asyncio.create_task(pump.run(stop))
        try:
            yield pump
        finally:
            stop.set()
            await task

    async def publish(
        self,
        email: str = "user@example.com",
        *,
        mail_id: UUID | None = None,
        ttl_s: float = 600,
        accepted_at_ms: int | None = None,
        attempt: int = 1,
        key: bytes | None = None,
        purpose: str = "signup",
        skip_offsets: int = 0,
        headers: HeaderList = (),
    ) -> UUID:
        """Publish a mail to the main topic; return its id."""
        accepted_at_ms = accepted_at_ms or self.clock.now_ms()
        record = new_record(
            email=email,
            variables={"code": "1234"},
            purpose=purpose,
            locale="ru",
            accepted_at_ms=accepted_at_ms,
            expires_at_ms=accepted_at_ms + round(ttl_s * 1000),
            keyring=self.keyring,
            mail_id=mail_id,
        )
        await self.kafka.publish(
            NAMES.main,
            key=key or record.address.partition_key,
            value=record.encode(),
            headers=[*MailHeaders(mail_id=record.id, attempt=attempt).encode(), *headers],
            skip_offsets=skip_offsets,
        )
        return record.id

    def events(self) -> list[StatusEvent]:
        return [decode_status(record.value) for record in self.kafka.stored(NAMES.status)]

    def outcomes(self) -> list[Outcome]:
        return [event.outcome for event in self.events()]
