"""Records and logs the outcome of a record."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from mailtopic_contract import (
    ErrorInfo,
    LegacyDefaults,
    MailRecord,
    Outcome,
    RecordError,
    RetryTier,
)
from mailtopic_runtime import Clock, get_logger
from mailtopic_sender.domain.replies import ReplyClass
from mailtopic_sender.domain.schedule import next_attempt
from mailtopic_sender.engine.batches import DeliveryBatches
from mailtopic_sender.engine.failures import (
    BUG_ATTEMPTS,
    bug_error,
    is_dead,
    poison_error,
    reply_error,
)
from mailtopic_sender.engine.flood_gate import FloodGate
from mailtopic_sender.engine.incoming import Incoming
from mailtopic_sender.engine.lease import Lease
from mailtopic_sender.engine.recorder import Recorder
from mailtopic_sender.engine.refusal_gate import RefusalGate
from mailtopic_sender.engine.telling import Teller
from mailtopic_sender.engine.wrong_bounces import WrongBounces
from mailtopic_sender.mail_ports import DeliveryResult

_FULL_ATTEMPTS = 3
"""A mailbox that is full this many times won't be emptied before the mail expires."""


@dataclass(frozen=True, slots=True)
class DeliveryPolicy:
    """What the MailTopic's owner decides.

    Attributes:
        tiers: retry delays, the shortest first; at least one.
        legacy: defaults for what the original payload lacks.
        resend_unknown: send again when a reply was lost after the final dot; else hold the mail.
        superseding_purposes: purposes for which a newer mail makes older ones pointless.
    """

    tiers: Sequence[RetryTier]
    legacy: LegacyDefaults
    resend_unknown: bool = True
    superseding_purposes: frozenset[str] = field(default=frozenset({"signup"}))


class Endings:
    """Decides a record's outcome from its result; records, counts and logs it.

    Its methods return when the outcome is stored.

    Attributes:
        batches: records deliveries, several at once.
    """

    def __init__(
        self,
        recorder: Recorder,
        policy: DeliveryPolicy,
        *,
        flood: FloodGate,
        refusals: RefusalGate,
        teller: Teller,
        clock: Clock,
    ) -> None:
        self.batches = DeliveryBatches(recorder)
        self.take_back = WrongBounces(
            refusals, recorder, tier=policy.tiers[0], teller=teller, clock=clock
        ).take_back
        self._recorder = recorder
        self._policy = policy
        self._flood = flood
        self._refusals = refusals
        self._teller = teller
        self._clock = clock
        self._log = get_logger(__name__)

    async def answered(
        self, incoming: Incoming, mail: MailRecord, lease: Lease, result: DeliveryResult
    ) -> None:
        """End an attempt as a relay's reply requires; raises Abandoned as `bury` does."""
        reply = result.reply_class
        if reply is ReplyClass.ACCEPTED:
            seconds = self._teller.delivered(mail)
            await self.batches.record(incoming, result)
            self.stored(incoming, mail, result, seconds)
        elif reply.bounces or (
            reply is ReplyClass.MAILBOX_FULL and incoming.attempt >= _FULL_ATTEMPTS
        ):
            await self._bounce(incoming, mail, result)
        elif reply is ReplyClass.UNKNOWN and not self._policy.resend_unknown:
            await self._hold(incoming, result)
        elif is_dead(result, incoming.attempt):
            await self.bury(incoming, lease, reply.value, reply_error(result), result)
        else:
            await self._defer(incoming, mail, reply_error(result), result)

    def stored(
        self, incoming: Incoming, mail: MailRecord, result: DeliveryResult, seconds: float
    ) -> None:
        """End a mail whose delivery is stored, so many seconds after it was accepted."""
        self._flood.went_on()
        self._teller.accepted(incoming, mail, result, seconds)

    async def _bounce(self, incoming: Incoming, mail: MailRecord, result: DeliveryResult) -> None:
        await self.finish(incoming, Outcome.BOUNCED, result)
        self._refusals.bounced(incoming, mail, result)  # others may have bounced alike meanwhile
        await self.take_back()

    async def bug(
        self, incoming: Incoming, mail: MailRecord, lease: Lease, error: Exception
    ) -> None:
        """End an attempt that failed by a bug; raises Abandoned as `bury` does."""
        self._log.error("mail.bug", id=str(incoming.mail_id), exc_info=error)
        if incoming.attempt < BUG_ATTEMPTS:
            await self._defer(incoming, mail, bug_error(error))
        else:
            await self.bury(incoming, lease, "bug", bug_error(error))

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
            await self.finish(incoming, Outcome.EXPIRED, result)
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

    async def finish(
        self,
        incoming: Incoming,
        outcome: Outcome,
        result: DeliveryResult | None = None,
    ) -> None:
        """Record a final outcome that needs no further action."""
        await self._recorder.settle(incoming, outcome, result)
        self._flood.went_on()
        self._teller.ended(incoming, outcome, result)

    async def unreadable(self, incoming: Incoming, lease: Lease) -> None:
        """Bury a record that isn't a mail; raises Abandoned as `bury` does."""
        error = incoming.error
        if isinstance(error, RecordError):
            # Garbage never becomes a mail, so holding it would only delay others. A version that is
            # unknown to this sender may be readable for a newer one.
            if error.reason == "unknown-version":
                await self._admit(incoming, error.reason, lease)
            await self._bury_now(incoming, error.reason, poison_error(error), may_park=True)
        elif error is not None:
            self._log.error("mail.bug", id=str(incoming.mail_id), exc_info=error)
            await self.bury(incoming, lease, "bug", bug_error(error), may_park=True)

    async def bury(
        self,
        incoming: Incoming,
        lease: Lease,
        reason: str,
        error: ErrorInfo,
        result: DeliveryResult | None = None,
        *,
        may_park: bool = False,
    ) -> None:
        """Bury a record, later if too many die at once.

        A record that no relay has seen may be parked (see `DlqGate.store`): judging it again when
        the DLQ takes records changes nothing.

        Raises:
            Abandoned: the lease ended before its turn came.
            Parked: see `Recorder.bury`.
        """
        await self._admit(incoming, reason, lease)
        await self._bury_now(incoming, reason, error, result, may_park=may_park)

    async def _admit(self, incoming: Incoming, reason: str, lease: Lease) -> None:
        if not incoming.was_parked:  # then it has been admitted, and counted
            await self._flood.admit(reason, lease)

    async def _bury_now(
        self,
        incoming: Incoming,
        reason: str,
        error: ErrorInfo,
        result: DeliveryResult | None = None,
        *,
        may_park: bool,
    ) -> None:
        await self._recorder.bury(incoming, error, reason=reason, result=result, may_park=may_park)
        self._teller.ended(incoming, Outcome.DEAD, result, reason=reason)

    async def _hold(self, incoming: Incoming, result: DeliveryResult) -> None:
        # Perhaps delivered, so not part of a flood; it must not wait and be sent again.
        await self._recorder.bury(
            incoming, reply_error(result), reason="unknown", outcome=Outcome.UNKNOWN, result=result
        )
        self._flood.went_on()
        self._teller.ended(incoming, Outcome.UNKNOWN, result, reason="unknown")
