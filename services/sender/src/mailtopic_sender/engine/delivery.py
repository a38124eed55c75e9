"""One record: expired, superseded, sent, deferred, bounced or dead; its outcome is recorded."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from mailtopic_client import BrokerUnavailable
from mailtopic_contract import (
    ErrorInfo,
    KeyRing,
    LegacyDefaults,
    MailRecord,
    Outcome,
    RecordError,
    RetryTier,
    SealingError,
    to_ms,
)
from mailtopic_runtime import Clock, get_logger
from mailtopic_sender.domain.replies import ReplyClass
from mailtopic_sender.domain.schedule import next_attempt
from mailtopic_sender.domain.templates import TemplateError
from mailtopic_sender.engine.batches import DeliveryBatches
from mailtopic_sender.engine.express import Express, outgoing_mail
from mailtopic_sender.engine.failures import (
    BUG_ATTEMPTS,
    bug_error,
    is_dead,
    poison_error,
    reply_error,
)
from mailtopic_sender.engine.flood_gate import FloodGate
from mailtopic_sender.engine.in_hand import MailsInHand
from mailtopic_sender.engine.incoming import Incoming, decode_incoming
from mailtopic_sender.engine.lease import Abandoned, Lease
from mailtopic_sender.engine.ledger import Ledger
from mailtopic_sender.engine.recorder import Recorder
from mailtopic_sender.engine.refusal_gate import RefusalGate
from mailtopic_sender.engine.telling import Teller
from mailtopic_sender.engine.usefulness import Usefulness
from mailtopic_sender.engine.wrong_bounces import WrongBounces
from mailtopic_sender.mail_ports import DeliveryResult, Mailer, Withdrawn, send
from mailtopic_sender.metrics import SenderMetrics
from mailtopic_sender.ports import ConsumedRecord

_FULL_ATTEMPTS = 3
"""A mailbox that is full so often won't be emptied before the mail expires."""

_LEDGER_RETRY_S = 1.0
_RELAY_PAUSE_S = 0.2
_LONGEST_RELAY_PAUSE_S = 10.0


@dataclass(frozen=True, slots=True)
class DeliveryPolicy:
    """What the MailTopic's owner decides.

    Attributes:
        tiers: retry delays, the shortest first; at least one.
        legacy: what the original payload doesn't say.
        resend_unknown: send again when a reply was lost after the final dot; else hold the mail.
        superseding_purposes: purposes of which a newer mail makes older ones pointless.
    """

    tiers: Sequence[RetryTier]
    legacy: LegacyDefaults
    resend_unknown: bool = True
    superseding_purposes: frozenset[str] = field(default=frozenset({"signup"}))


class Delivery:
    """Brings records to their outcomes. Safe for many records at once.

    No outcome is promised: if the lease ends while a mail waits, `handle` raises Abandoned.

    Attributes:
        begin: begins a record that needs no decision, without a task; see `Express.begin`.
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
        self._policy = policy
        self._ledger = ledger
        self._keyring = keyring
        self._flood = flood
        self._refusals = refusals
        self._wrong_bounces = WrongBounces(
            refusals, recorder, tier=policy.tiers[0], teller=teller, clock=clock
        )
        self._teller = teller
        self._metrics = metrics
        self._clock = clock
        self._usefulness = Usefulness(policy.superseding_purposes, clock=clock)
        self._in_hand = MailsInHand()
        self._batches = DeliveryBatches(recorder)
        self.begin = Express(
            mailer,
            self._batches,
            ledger=ledger,
            usefulness=self._usefulness,
            in_hand=self._in_hand,
            keyring=keyring,
            flood=flood,
            refusals=refusals,
            teller=teller,
        ).begin
        self._log = get_logger(__name__)

    def prepare(self, record: ConsumedRecord) -> Incoming:
        """Decode a record when it is queued, so that older codes behind it are known as such."""
        time_ms = to_ms(record.timestamp_ms)
        queue_ms = self._clock.now_ms() - time_ms if time_ms > 0 else 0
        incoming = decode_incoming(
            record,
            self._policy.legacy,
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
        """Bring a record to its outcome that `begin` has begun; see `handle`."""
        try:
            if result is None or incoming.mail is None:
                await self._judge(incoming, lease)
            else:  # `Express` has looked at everything that `_judge` looks at
                await self._deliver_or_report(incoming, incoming.mail, lease, result)
        finally:
            self._flood.end()
            self._in_hand.release(incoming.mail_id)

    async def handle(self, incoming: Incoming, lease: Lease) -> None:
        """Bring a record to its outcome; returns after the outcome is stored.

        Raises:
            Abandoned: the lease ended while the mail waited; nothing was decided.
        """
        with self._teller.span(incoming):
            await self._in_hand.wait(incoming.mail_id, lease)
            self._flood.begin()
            await self.go_on(incoming, lease, None)

    def close(self) -> None:
        """Stop recording: for when the process ends and the time for draining is over."""
        self._batches.close()

    def recall(self) -> None:
        """Take mails that wait for a relay back if their lease is over."""
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
            await self._bury_unreadable(incoming, lease)
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
            await self._bury(incoming, lease, reason, poison_error(error))
        except (MemoryError, Abandoned):
            raise
        except Exception as error:  # noqa: BLE001 - a bug must cost one mail, not the consumer
            self._log.error("mail.bug", id=str(incoming.mail_id), exc_info=error)
            await self._retry_bug(incoming, mail, lease, bug_error(error))
        else:
            if result is None:
                return
            if lease.is_lost and result.reply_class is not ReplyClass.ACCEPTED:
                # Too late: whoever has the partition now makes this attempt anew.
                raise Abandoned
            await self._record(incoming, mail, lease, result)

    async def _answer(
        self,
        incoming: Incoming,
        mail: MailRecord,
        lease: Lease,
        result: DeliveryResult | None,
    ) -> DeliveryResult | None:
        """Send until an answer is about this mail; None: it needn't be sent."""
        while True:
            result = await self._send(incoming, mail, lease, result)
            if result is None:
                return None
            counting = self._refusals.judged(mail, result)
            if counting is not None:
                return counting
            await self._wrong_bounces.take_back()
            result = None

    async def _send(
        self,
        incoming: Incoming,
        mail: MailRecord,
        lease: Lease,
        result: DeliveryResult | None,
    ) -> DeliveryResult | None:
        """Send until a relay has said something about the mail; None: it needn't be sent.

        `result` is what has come of it so far.
        """
        pause_s = _RELAY_PAUSE_S
        while result is None or result.reply_class.blames_relay:
            if result is not None:
                # The relay's fault: the mail keeps its place and its attempt.
                await lease.wait(None, timeout_s=min(pause_s, self._left_s(mail)))
                pause_s = min(pause_s * 2, _LONGEST_RELAY_PAUSE_S)
            useless = self._usefulness.why_not(mail)
            if useless is not None:
                await self._finish(incoming, useless)
                return None
            if not self._mailer.is_available:
                await lease.wait(self._mailer.wait_available(), timeout_s=self._left_s(mail))
                if self._usefulness.why_not(mail) is None and not self._mailer.is_available:
                    await lease.wait(None, timeout_s=_RELAY_PAUSE_S)
                result = None
                continue
            if not self._refusals.may_try(mail):
                await self._refusals.wait(mail, lease, timeout_s=self._left_s(mail))
                result = None
                continue
            result = await self._send_once(incoming, mail, lease)
        return result

    async def _send_once(
        self, incoming: Incoming, mail: MailRecord, lease: Lease
    ) -> DeliveryResult | None:
        """Send; None: it was no longer of use before a relay heard of it."""

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

    def _left_s(self, mail: MailRecord) -> float:
        return max(0.0, (mail.expires_at - self._clock.now_ms()) / 1000)

    async def _record(
        self, incoming: Incoming, mail: MailRecord, lease: Lease, result: DeliveryResult
    ) -> None:
        reply = result.reply_class
        if reply is ReplyClass.ACCEPTED:
            seconds = self._teller.delivered(mail)
            await self._batches.record(incoming, result)
            self._flood.went_on()
            self._teller.accepted(incoming, mail, result, seconds)
        elif reply.bounces or (
            reply is ReplyClass.MAILBOX_FULL and incoming.attempt >= _FULL_ATTEMPTS
        ):
            await self._bounce(incoming, mail, result)
        elif reply is ReplyClass.UNKNOWN and not self._policy.resend_unknown:
            await self._hold(incoming, result)
        elif is_dead(result, incoming.attempt):
            await self._bury(incoming, lease, reply.value, reply_error(result), result)
        else:
            await self._defer(incoming, mail, reply_error(result), result)

    async def _bounce(self, incoming: Incoming, mail: MailRecord, result: DeliveryResult) -> None:
        await self._finish(incoming, Outcome.BOUNCED, result)
        self._refusals.bounced(incoming, mail, result)  # others may have got the same meanwhile
        await self._wrong_bounces.take_back()

    async def _retry_bug(
        self, incoming: Incoming, mail: MailRecord, lease: Lease, error: ErrorInfo
    ) -> None:
        if incoming.attempt < BUG_ATTEMPTS:
            await self._defer(incoming, mail, error)
        else:
            await self._bury(incoming, lease, "bug", error)

    async def _defer(
        self,
        incoming: Incoming,
        mail: MailRecord,
        error: ErrorInfo,
        result: DeliveryResult | None = None,
    ) -> None:
        following = next_attempt(
            self._policy.tiers,
            attempt=incoming.attempt,
            now_ms=self._clock.now_ms(),
            expires_at_ms=mail.expires_at,
            retry_after_s=result.retry_after_s if result else None,
            soon=result is not None and result.reply_class is ReplyClass.UNKNOWN,
        )
        if following is None:
            await self._finish(incoming, Outcome.EXPIRED, result)
            return
        await self._recorder.defer(
            incoming,
            tier=following.tier,
            not_before_ms=following.not_before_ms,
            error=error,
            result=result,
        )
        self._flood.went_on()
        self._teller.ended(incoming, Outcome.DEFERRED, result, tier=following.tier.name)

    async def _finish(
        self,
        incoming: Incoming,
        outcome: Outcome,
        result: DeliveryResult | None = None,
    ) -> None:
        await self._recorder.settle(incoming, outcome, result)
        self._flood.went_on()
        self._teller.ended(incoming, outcome, result)

    async def _bury_unreadable(self, incoming: Incoming, lease: Lease) -> None:
        error = incoming.error
        if isinstance(error, RecordError):
            # Garbage never becomes a mail, so holding it back would only hold others up. A version
            # that this sender doesn't know may well be mended by a newer sender.
            if error.reason == "unknown-version":
                await self._flood.admit(error.reason, lease)
            await self._bury_now(incoming, error.reason, poison_error(error))
        elif error is not None:
            self._log.error("mail.bug", id=str(incoming.mail_id), exc_info=error)
            await self._bury(incoming, lease, "bug", bug_error(error))

    async def _bury(
        self,
        incoming: Incoming,
        lease: Lease,
        reason: str,
        error: ErrorInfo,
        result: DeliveryResult | None = None,
    ) -> None:
        await self._flood.admit(reason, lease)
        await self._bury_now(incoming, reason, error, result)

    async def _bury_now(
        self,
        incoming: Incoming,
        reason: str,
        error: ErrorInfo,
        result: DeliveryResult | None = None,
    ) -> None:
        await self._recorder.bury(incoming, error, reason=reason, result=result)
        self._teller.ended(incoming, Outcome.DEAD, result, reason=reason)

    async def _hold(self, incoming: Incoming, result: DeliveryResult) -> None:
        # Perhaps delivered, so no part of a flood; it must not be sent again for waiting.
        await self._recorder.bury(
            incoming, reply_error(result), reason="unknown", outcome=Outcome.UNKNOWN, result=result
        )
        self._flood.went_on()
        self._teller.ended(incoming, Outcome.UNKNOWN, result, reason="unknown")
