"""Writes down what becomes of a mail: retry topics, the DLQ and N.status.

Nothing is complete before its outcome is acknowledged, so every write is repeated until it is.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from mailtopic_client import BrokerClient, OutgoingRecord, PublishError, RecordMetadata
from mailtopic_contract import (
    ErrorInfo,
    MailHeaders,
    Outcome,
    RetryTier,
    StatusEvent,
    TopicNames,
    encode_outcome,
)
from mailtopic_runtime import Clock, StateLog, get_logger
from mailtopic_sender.engine.incoming import Incoming
from mailtopic_sender.engine.ledger import Ledger
from mailtopic_sender.engine.telling import trace_of
from mailtopic_sender.mail_ports import DeliveryResult
from mailtopic_sender.metrics import SenderMetrics
from mailtopic_sender.ports import ConsumedRecord

_ACCEPTED = Outcome.ACCEPTED.value
_FIRST_RETRY_S = 0.5
_LONGEST_RETRY_S = 5.0

_Stored = TypeVar("_Stored")


class Recorder:
    """Records outcomes. Its methods return when the broker has stored what they wrote.

    They wait as long as that takes. After a crash between two writes of one method, the record
    comes again: a deferral is resumed with its second write, a burial begins anew.

    Args:
        broker_answers: whether the broker is known to be there; while it isn't, that has been
            said already, and waiting outcomes aren't worth a line of their own.
    """

    def __init__(
        self,
        broker: BrokerClient,
        names: TopicNames,
        *,
        ledger: Ledger,
        metrics: SenderMetrics,
        clock: Clock,
        broker_answers: Callable[[], bool] = lambda: True,
    ) -> None:
        self._broker = broker
        self._broker_answers = broker_answers
        self._names = names
        self._ledger = ledger
        self._metrics = metrics
        self._clock = clock
        # One for each topic: N.status takes outcomes while a retry topic may refuse its records.
        self._publishing: dict[str, StateLog] = {}

    async def settle(
        self, incoming: Incoming, outcome: Outcome, result: DeliveryResult | None = None
    ) -> None:
        """Record an outcome in N.status."""
        event = self._event(incoming, outcome, result)
        self._count(event, await self._tell(event, incoming.record.partition))

    async def settle_delivered(
        self, partition: int, delivered: Sequence[tuple[Incoming, DeliveryResult]]
    ) -> None:
        """Record in N.status that relays have taken these mails, all of them of one partition."""
        records = [self._accepted(incoming, result) for incoming, result in delivered]
        offsets = await self._until_stored(
            self._names.status,
            lambda: self._broker.publish_batch(self._names.status, partition, records),
        )
        mail_ids = [incoming.mail_id for incoming, _ in delivered]
        self._ledger.note_accepted(mail_ids, partition=partition, offset=offsets[-1])
        for _, result in delivered:
            self._metrics.outcome(_ACCEPTED, result.relay)

    def _accepted(self, incoming: Incoming, result: DeliveryResult) -> OutgoingRecord:
        key, value = encode_outcome(
            incoming.mail_id,
            Outcome.ACCEPTED,
            at_ms=self._clock.now_ms(),
            attempt=incoming.attempt,
            purpose=incoming.purpose,
            relay=result.relay,
            reply_class=result.reply_class.value,
            smtp=result.smtp,
        )
        return OutgoingRecord(key, value)

    async def defer(
        self,
        incoming: Incoming,
        *,
        tier: RetryTier,
        not_before_ms: int,
        error: ErrorInfo,
        result: DeliveryResult | None = None,
    ) -> None:
        """Record ``deferred``, then hand the mail to a retry topic for its next attempt.

        In this order, because whoever owns the retry topic may be another process: were the mail
        there before anybody can know of it, a replay of this record would send it as well.
        """
        event = self._event(incoming, Outcome.DEFERRED, result).model_copy(
            update={"tier": tier.name, "not_before": not_before_ms}
        )
        stored = await self._tell(event, incoming.record.partition)
        await self._hand_on(incoming, tier, self._next_headers(incoming, error, not_before_ms))
        self._count(event, stored)

    async def take_back(
        self,
        incoming: Incoming,
        *,
        tier: RetryTier,
        not_before_ms: int,
        error: ErrorInfo,
        result: DeliveryResult,
    ) -> None:
        """Hand a mail to a retry topic that was recorded as bounced, then record that it wasn't.

        In this order: a replay of the record knows it as settled, so a crash in between costs the
        correction only, and the mail's next outcome corrects as well.
        """
        await self._hand_on(incoming, tier, self._next_headers(incoming, error, not_before_ms))
        event = self._event(incoming, Outcome.DEFERRED, result).model_copy(
            update={"tier": tier.name, "not_before": not_before_ms, "taken_back": True}
        )
        self._count(event, await self._tell(event, incoming.record.partition))

    async def resume(self, incoming: Incoming, deferred: StatusEvent) -> None:
        """Hand a mail to a retry topic that an earlier process had deferred before it died.

        Nobody knows whether that process did so itself. The copy says from where on N.status
        tells its reader whether the mail went on without it.
        """
        error = ErrorInfo(
            deferred.reply_class or "bug", "Reply", "deferred before a restart", deferred.smtp
        )
        partition = incoming.record.partition
        headers = self._next_headers(incoming, error, deferred.not_before or 0)._replace(
            outcomes_from=self._ledger.loaded_end(partition)
        )
        tiers = {tier.name: tier for tier in self._names.tiers}
        tier = tiers.get(deferred.tier or "", self._names.tiers[0])
        await self._hand_on(incoming, tier, headers)
        self._ledger.remember(deferred)

    async def bury(
        self,
        incoming: Incoming,
        error: ErrorInfo,
        *,
        reason: str,
        outcome: Outcome = Outcome.DEAD,
        result: DeliveryResult | None = None,
    ) -> None:
        """Write a record to the DLQ as it came, then record its outcome."""
        ours = self._headers(incoming, error).encode()
        names = {name for name, _ in ours}
        # What can't be decoded is kept as it was, so that nothing is lost for whoever looks.
        kept = [(n, v or b"") for n, v in incoming.record.headers if n not in names]
        await self._publish(
            self._names.dlq,
            key=_key(incoming.record),
            value=incoming.record.value,
            headers=[*kept, *ours],
            partition=incoming.record.partition,
        )
        self._metrics.dead_letter(reason)
        await self.settle(incoming, outcome, result)

    def _event(
        self, incoming: Incoming, outcome: Outcome, result: DeliveryResult | None
    ) -> StatusEvent:
        return StatusEvent(
            id=incoming.mail_id,
            outcome=outcome,
            at=self._clock.now_ms(),
            attempt=incoming.attempt,
            purpose=incoming.purpose,
            relay=result.relay if result else None,
            reply_class=result.reply_class.value if result else None,
            smtp=result.smtp if result else None,
        )

    async def _tell(self, event: StatusEvent, partition: int) -> RecordMetadata:
        return await self._publish(
            self._names.status,
            key=event.key,
            value=event.encode(),
            headers=[],
            partition=partition,
        )

    def _count(self, event: StatusEvent, stored: RecordMetadata) -> None:
        self._ledger.note(event, partition=stored.partition, offset=stored.offset)
        self._metrics.outcome(event.outcome.value, event.relay)

    async def _hand_on(self, incoming: Incoming, tier: RetryTier, headers: MailHeaders) -> None:
        await self._publish(
            self._names.retry(tier),
            key=incoming.record.key,
            value=incoming.record.value,
            headers=headers.encode(),
            partition=incoming.record.partition,
        )

    def _next_headers(
        self, incoming: Incoming, error: ErrorInfo, not_before_ms: int
    ) -> MailHeaders:
        return self._headers(incoming, error)._replace(
            attempt=incoming.attempt + 1, not_before_ms=not_before_ms
        )

    def _headers(self, incoming: Incoming, error: ErrorInfo) -> MailHeaders:
        first_failure_at_ms = incoming.headers.first_failure_at_ms
        return incoming.headers._replace(
            mail_id=incoming.mail_id,
            first_failure_at_ms=first_failure_at_ms or self._clock.now_ms(),
            origin=incoming.origin,
            error=error,
            outcomes_from=None,
            trace=trace_of(incoming.headers),
        )

    async def _publish(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: list[tuple[str, bytes]],
        partition: int,
    ) -> RecordMetadata:
        return await self._until_stored(
            topic,
            lambda: self._broker.publish(
                topic, key=key, value=value, headers=headers, partition=partition
            ),
        )

    async def _until_stored(self, topic: str, publish: Callable[[], Awaitable[_Stored]]) -> _Stored:
        state = self._publishing.get(topic)
        if state is None:
            state = StateLog(get_logger(__name__).bind(topic=topic), "publishing")
            self._publishing[topic] = state
        delay_s = _FIRST_RETRY_S
        while True:
            try:
                stored = await publish()
            except PublishError as error:
                if self._broker_answers():
                    state.down(f"{error}: outcomes wait")
                await asyncio.sleep(delay_s)
                delay_s = min(delay_s * 2, _LONGEST_RETRY_S)
            else:
                state.up()
                return stored


def _key(record: ConsumedRecord) -> bytes | None:
    # A record with neither key nor value can't be published; an empty key stands for none.
    return b"" if record.key is None and record.value is None else record.key
