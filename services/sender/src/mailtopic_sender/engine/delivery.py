"""One record: expired, superseded, sent, deferred, bounced or dead; its outcome is recorded."""

from mailtopic_client import BrokerUnavailable
from mailtopic_contract import KeyRing, MailRecord, SealingError, to_ms
from mailtopic_runtime import Clock
from mailtopic_sender.domain.replies import ReplyClass
from mailtopic_sender.domain.templates import TemplateError
from mailtopic_sender.engine.endings import DeliveryPolicy, Endings
from mailtopic_sender.engine.express import Express, outgoing_mail
from mailtopic_sender.engine.failures import poison_error
from mailtopic_sender.engine.flood_gate import FloodGate
from mailtopic_sender.engine.in_hand import MailsInHand
from mailtopic_sender.engine.incoming import Incoming, decode_incoming
from mailtopic_sender.engine.lease import Abandoned, Lease
from mailtopic_sender.engine.ledger import Ledger
from mailtopic_sender.engine.recorder import Recorder
from mailtopic_sender.engine.refusal_gate import RefusalGate
from mailtopic_sender.engine.telling import Teller
from mailtopic_sender.engine.usefulness import Usefulness
from mailtopic_sender.mail_ports import DeliveryResult, Mailer, Withdrawn, send
from mailtopic_sender.metrics import SenderMetrics
from mailtopic_sender.ports import ConsumedRecord

_LEDGER_RETRY_S = 1.0
_RELAY_PAUSE_S = 0.2
_LONGEST_RELAY_PAUSE_S = 10.0


class Delivery:
    """Brings records to their outcomes. Safe for concurrent use.

    No outcome is promised: if the lease ends while a mail waits, `handle` raises Abandoned.

    Attributes:
        begin: starts a record that needs no decision, without a task; see `Express.begin`.
    """

    def __init__(
        self,
        mailer: Mailer,
        recorder: Recorder,
        *,
        policy: DeliveryPolicy,
        ledger: Ledger,
        keyring: KeyRing | None,
        flood: FloodGate,
        refusals: RefusalGate,
        teller: Teller,
        metrics: SenderMetrics,
        clock: Clock,
    ) -> None:
        self._mailer = mailer
        self._recorder = recorder
        self._legacy = policy.legacy
        self._ledger = ledger
        self._keyring = keyring
        self._refusals = refusals
        self._teller = teller
        self._metrics = metrics
        self._clock = clock
        self._usefulness = Usefulness(policy.superseding_purposes, clock=clock)
        self._in_hand = MailsInHand(flood)
        self._endings = Endings(
            recorder, policy, flood=flood, refusals=refusals, teller=teller, clock=clock
        )
        self.begin = Express(
            mailer,
            self._endings,
            ledger=ledger,
            usefulness=self._usefulness,
            in_hand=self._in_hand,
            keyring=keyring,
            refusals=refusals,
            teller=teller,
        ).begin

    def prepare(self, record: ConsumedRecord) -> Incoming:
        """Decode a record when it is queued, so that older codes behind it are recognized."""
        time_ms = to_ms(record.timestamp_ms)
        queue_ms = self._clock.now_ms() - time_ms if time_ms > 0 else 0
        incoming = decode_incoming(
            record,
            self._legacy,
            received_s=self._clock.monotonic_s(),
            queue_s=max(queue_ms, 0) / 1000,
        )
        if self._ledger.has_former_ids and incoming.has_derived_id:
            former_id = incoming.origin.former_id
            if self._ledger.knew(former_id, since_ms=incoming.origin.timestamp_ms):
                incoming = incoming.under(former_id)
        self._teller.received(incoming)
        if incoming.mail is not None:
            self._usefulness.note(incoming.mail)
        return incoming

    async def go_on(self, incoming: Incoming, lease: Lease, result: DeliveryResult | None) -> None:
        """Bring a record that `begin` has started to its outcome; see `handle`."""
        try:
            if result is None or incoming.mail is None:
                await self._judge(incoming, lease)
            else:  # `Express` has checked everything that `_judge` checks
                await self._deliver_or_report(incoming, incoming.mail, lease, result)
        finally:
            self._in_hand.release(incoming.mail_id)

    async def handle(self, incoming: Incoming, lease: Lease) -> None:
        """Bring a record to its outcome; returns after the outcome is stored.

        Raises:
            Abandoned: the lease ended while the mail waited; nothing was decided.
            Parked: the DLQ takes nothing now; nothing was recorded.
        """
        with self._teller.span(incoming):
            await self._in_hand.wait(incoming.mail_id, lease)
            await self.go_on(incoming, lease, None)

    def close(self) -> None:
        """Stop recording: the process ends and the drain timeout has passed."""
        self._endings.batches.close()

    def recall(self) -> None:
        """Take back mails that wait for a relay if their lease has ended."""
        self._mailer.recall()

    async def _judge(self, incoming: Incoming, lease: Lease) -> None:
        if incoming.headers.outcomes_from is not None:
            await self._learn_of_copies(incoming, incoming.headers.outcomes_from, lease)
        deferred = self._ledger.half_deferred(incoming.mail_id, incoming.attempt)
        if deferred is not None:
            await self._recorder.resume(incoming, deferred)
            self._metrics.skipped("ledger")
        elif self._ledger.is_settled(incoming.mail_id, incoming.attempt):
            self._metrics.skipped("ledger")
        elif incoming.mail is None:
            await self._endings.unreadable(incoming, lease)
        else:
            await self._deliver_or_report(incoming, incoming.mail, lease)

    async def _learn_of_copies(self, incoming: Incoming, since: int, lease: Lease) -> None:
        while True:
            try:
                await self._ledger.catch_up(incoming.record.partition, since)
            except BrokerUnavailable:
                await lease.wait(None, timeout_s=_LEDGER_RETRY_S)
            else:
                return

    async def _deliver_or_report(
        self,
        incoming: Incoming,
        mail: MailRecord,
        lease: Lease,
        result: DeliveryResult | None = None,
    ) -> None:
        try:
            result = await self._answer(incoming, mail, lease, result)
        except (SealingError, TemplateError) as error:
            reason = "sealing" if isinstance(error, SealingError) else "template"
            await self._endings.bury(incoming, lease, reason, poison_error(error), may_park=True)
        except (MemoryError, Abandoned):
            raise
        except Exception as error:  # noqa: BLE001 - a bug must cost one mail, not the consumer
            await self._endings.bug(incoming, mail, lease, error)
        else:
            if result is None:
                return
            if lease.is_lost and result.reply_class is not ReplyClass.ACCEPTED:
                # Too late: the partition's new owner repeats this attempt.
                raise Abandoned
            await self._endings.answered(incoming, mail, lease, result)

    async def _answer(
        self,
        incoming: Incoming,
        mail: MailRecord,
        lease: Lease,
        result: DeliveryResult | None,
    ) -> DeliveryResult | None:
        """Send until a reply concerns this mail; None: it needn't be sent."""
        while True:
            result = await self._send(incoming, mail, lease, result)
            if result is None:
                return None
            counting = self._refusals.judged(mail, result)
            if counting is not None:
                return counting
            await self._endings.take_back()
            result = None

    async def _send(
        self,
        incoming: Incoming,
        mail: MailRecord,
        lease: Lease,
        result: DeliveryResult | None,
    ) -> DeliveryResult | None:
        """Send until a relay has replied about the mail; None: it needn't be sent.

        `result` is the result so far.
        """
        pause_s = _RELAY_PAUSE_S
        while result is None or result.reply_class.blames_relay:
            if result is not None:
                # The relay's fault: the mail keeps its place and its attempt.
                await lease.wait(None, timeout_s=min(pause_s, self._usefulness.left_s(mail)))
                pause_s = min(pause_s * 2, _LONGEST_RELAY_PAUSE_S)
            useless = self._usefulness.why_not(mail)
            if useless is not None:
                await self._endings.finish(incoming, useless)
                return None
            if not self._mailer.is_available:
                await lease.wait(
                    self._mailer.wait_available(), timeout_s=self._usefulness.left_s(mail)
                )
                if self._usefulness.why_not(mail) is None and not self._mailer.is_available:
                    await lease.wait(None, timeout_s=_RELAY_PAUSE_S)
                result = None
                continue
            if not self._refusals.may_try(mail):
                await self._refusals.wait(mail, lease, timeout_s=self._usefulness.left_s(mail))
                result = None
                continue
            result = await self._send_once(incoming, mail, lease)
        return result

    async def _send_once(
        self, incoming: Incoming, mail: MailRecord, lease: Lease
    ) -> DeliveryResult | None:
        """Send; None: it was no longer of use before it reached a relay."""

        def is_wanted() -> bool:
            return not lease.is_over and self._usefulness.why_not(mail) is None

        try:
            result = await send(
                self._mailer, outgoing_mail(mail, self._keyring), is_wanted=is_wanted
            )
        except Withdrawn:
            if lease.is_over:
                raise Abandoned from None
            return None
        return self._teller.attempted(incoming, result)
