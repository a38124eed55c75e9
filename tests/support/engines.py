"""The engine on its shipped fakes: real code between a topic in memory and a mailer in memory."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
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
    parse_address,
)
from mailtopic_runtime import NO_TRACER, ManualClock, Tracer
from mailtopic_sender.adapters.memory_relay import MemoryRelay
from mailtopic_sender.adapters.memory_source import MemoryKafka, MemorySource, MemoryStatusLog
from mailtopic_sender.domain.flood import FloodLimits
from mailtopic_sender.domain.message import Message, MessageComposer
from mailtopic_sender.domain.refusals import RefusalLimits
from mailtopic_sender.domain.templates import TemplateSet
from mailtopic_sender.engine.delivery import Delivery
from mailtopic_sender.engine.dlq_gate import DlqGate
from mailtopic_sender.engine.endings import DeliveryPolicy
from mailtopic_sender.engine.flood_gate import FloodGate
from mailtopic_sender.engine.lanes import Slots
from mailtopic_sender.engine.ledger import Ledger
from mailtopic_sender.engine.pace_carrier import PaceCarrier
from mailtopic_sender.engine.progress import Progress
from mailtopic_sender.engine.pump import Pump, PumpSettings
from mailtopic_sender.engine.recorder import Recorder
from mailtopic_sender.engine.refusal_gate import RefusalGate
from mailtopic_sender.engine.relays.mailer import RelayMailer
from mailtopic_sender.engine.relays.patience import Patience
from mailtopic_sender.engine.relays.port import Relay
from mailtopic_sender.engine.telling import Teller
from mailtopic_sender.engine.tiers import NoHold, RetryHold, TierHold
from mailtopic_sender.metrics import SenderMetrics
from support.smtp_mails import FAST

NAMES = TopicNames("mails")
PLACE_KEY = b"0123456789abcdef"


class AnyPurpose(MessageComposer):
    """Composes mails of any purpose by one template."""

    def __init__(self) -> None:
        super().__init__(
            TemplateSet(),
            from_name="MailTopic",
            from_address=parse_address("no-reply@example.com"),
        )

    def compose(self, *, purpose: str, **others: Any) -> Message:
        del purpose
        return super().compose(purpose="signup", **others)


@dataclass
class Engine:
    """One process's worth of engine; several share one `kafka`."""

    kafka: MemoryKafka = field(default_factory=MemoryKafka)
    relay: MemoryRelay = field(default_factory=MemoryRelay)
    patience: Patience | None = None
    clock: ManualClock = field(default_factory=ManualClock)
    resend_unknown: bool = True
    max_in_flight: int = 10
    max_held_records: int = 20
    drain_timeout_s: float = 5.0
    pause_after_s: float = 0.02
    keyring: KeyRing | None = None
    other_relays: Sequence[Relay] = ()
    composed_by: MessageComposer = field(default_factory=AnyPurpose)
    flood_limits: FloodLimits = field(default_factory=FloodLimits)
    refusal_limits: RefusalLimits = field(default_factory=RefusalLimits)
    tracer: Tracer = NO_TRACER
    metrics_type: type[SenderMetrics] = SenderMetrics
    shares: list[float] = field(default_factory=list)
    accounts: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.kafka.now_ms = self.clock.now_ms
        self.registry = CollectorRegistry()
        self.metrics = self.metrics_type(self.registry, NAMES.main)
        self.ledger = Ledger(MemoryStatusLog(self.kafka, NAMES.status))
        self.slots = Slots(self.max_in_flight)
        self.dlq = DlqGate(NAMES.dlq, slots=self.slots, shut_after_s=0.05)
        recorder = Recorder(
            self.kafka,
            NAMES,
            ledger=self.ledger,
            metrics=self.metrics,
            clock=self.clock,
            dlq=self.dlq,
        )
        self.mailer = RelayMailer(
            (self.relay, *self.other_relays),
            self.composed_by,
            clock=self.clock,
            backoff=FAST,
            patience=self.patience,
        )
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
            self.mailer,
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
        holds: dict[bool, RetryHold] = {
            True: NoHold(),
            False: TierHold(dict(zip(NAMES.retries, NAMES.tiers, strict=True))),
        }
        return Pump(
            self.source if is_main else self.retry_source,
            self.delivery,
            hold=holds[is_main],
            ledger=self.ledger,
            dlq=self.dlq,
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
            share=self._set_share,
            pace=PaceCarrier(self.mailer, self.accounts if is_main else {}, self.clock),
        )

    def _set_share(self, share: float) -> None:
        self.shares.append(share)
        self.mailer.set_share(share)

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
