"""Records what becomes of a mail, in retry topics, the DLQ and N.status.

Nothing is complete before its outcome is acknowledged, so every write is repeated until it is.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from hashlib import sha256
from typing import TypeVar

from mailtopic_client import (
    BrokerClient,
    HeaderList,
    OutgoingRecord,
    PublishError,
    RecordMetadata,
    RecordRefused,
)
from mailtopic_contract import (
    ErrorInfo,
    HeaderError,
    MailHeaders,
    Outcome,
    RetryTier,
    StatusEvent,
    TopicNames,
    Unread,
    encode_outcome,
)
from mailtopic_runtime import Clock, StateLog, get_logger
from mailtopic_sender.engine.dlq_gate import DlqGate
from mailtopic_sender.engine.incoming import Incoming
from mailtopic_sender.engine.ledger import Ledger
from mailtopic_sender.engine.telling import trace_of
from mailtopic_sender.mail_ports import DeliveryResult
from mailtopic_sender.metrics import SenderMetrics
from mailtopic_sender.ports import ConsumedRecord

_ACCEPTED = Outcome.ACCEPTED.value
_FIRST_RETRY_S = 0.5
_LONGEST_RETRY_S = 5.0
_MAX_KEPT_KEY_BYTES = 4_096

_Stored = TypeVar("_Stored")


class Recorder:
    """Records outcomes. Its methods return when the broker has stored what they wrote.

    They wait as long as that takes, except that `bury` may raise `Parked`. After a crash between
    two writes of one method, the record is delivered again: a deferral resumes with its second
    write, a burial starts over.

    Args:
        broker_answers: whether the broker is known to be reachable; while it isn't, that has been
            logged already, and waiting outcomes aren't worth a line of their own.
        dlq: lets letters through.
    """

    def __init__(
        self,
        broker: BrokerClient,
        names: TopicNames,
        *,
        ledger: Ledger,
        metrics: SenderMetrics,
        clock: Clock,
        dlq: DlqGate,
        broker_answers: Callable[[], bool] = lambda: True,
    ) -> None:
        self._broker = broker
        self._broker_answers = broker_answers
        self._names = names
        self._ledger = ledger
        self._metrics = metrics
        self._clock = clock
        self._dlq = dlq
        # One for each topic: N.status takes outcomes while a retry topic may refuse its records.
        self._publishing: dict[str, StateLog] = {}

    async def settle(
        self, incoming: Incoming, outcome: Outcome, result: DeliveryResult | None = None
    ) -> None:
        """Record an outcome in N.status."""
        event = self._event(incoming, outcome, result)
        self._remember(event, await self._tell(event, incoming.record.partition))

    async def settle_delivered(
        self, partition: int, delivered: Sequence[tuple[Incoming, DeliveryResult]]
    ) -> None:
        """Record in N.status that relays have accepted these mails, all of one partition."""
        now_ms = self._clock.now_ms()
        mail_ids = [incoming.mail_id for incoming, _ in delivered]
        records = [
            OutgoingRecord(
                *encode_outcome(
                    mail_id,
                    Outcome.ACCEPTED,
                    at_ms=now_ms,
                    attempt=incoming.attempt,
                    purpose=incoming.purpose,
                    relay=result.relay,
                    reply_class=result.reply_class.value,
                    smtp=result.smtp,
                )
            )
            for mail_id, (incoming, result) in zip(mail_ids, delivered, strict=True)
        ]
        offsets = await self._until_stored(
            self._names.status,
            lambda: self._broker.publish_batch(self._names.status, partition, records),
        )
        self._ledger.note_accepted(mail_ids, partition=partition, offset=offsets[-1])
        for _, result in delivered:
            self._metrics.outcome(_ACCEPTED, result.relay)

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

        In this order, because the retry topic's owner may be another process: if the mail got there
        before its deferral is recorded, a replay of this record would send it as well. A mail that
        is too large for the retry topic is buried.
        """
        event = self._event(incoming, Outcome.DEFERRED, result).model_copy(
            update={"tier": tier.name, "not_before": not_before_ms}
        )
        stored = await self._tell(event, incoming.record.partition)
        try:
            await self._hand_on(incoming, tier, self._next_headers(incoming, error, not_before_ms))
        except RecordRefused:
            await self.bury(incoming, error, reason="too-large", result=result)
        else:
            self._remember(event, stored)

    async def take_back(
        self,
        incoming: Incoming,
        *,
        tier: RetryTier,
        not_before_ms: int,
        error: ErrorInfo,
        result: DeliveryResult,
    ) -> None:
        """Hand a mail that was recorded as bounced to a retry topic, then record that it wasn't.

        In this order: a replay of the record finds it settled, so a crash in between costs the
        correction only, and the mail's next outcome corrects as well. A mail that is too large for
        the retry topic is buried after that.
        """
        is_refused = False
        try:
            await self._hand_on(incoming, tier, self._next_headers(incoming, error, not_before_ms))
        except RecordRefused:
            is_refused = True
        event = self._event(incoming, Outcome.DEFERRED, result).model_copy(
            update={"tier": tier.name, "not_before": not_before_ms, "taken_back": True}
        )
        self._remember(event, await self._tell(event, incoming.record.partition))
        if is_refused:
            await self.bury(incoming, error, reason="too-large", result=result)

    async def resume(self, incoming: Incoming, deferred: StatusEvent) -> None:
        """Hand a mail that an earlier process deferred before it died to a retry topic.

        That process may have done so itself. The copy holds the offset from which N.status shows
        its reader whether the mail has continued without it.
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
        try:
            await self._hand_on(incoming, tier, headers)
        except RecordRefused:
            await self.bury(incoming, error, reason="too-large")
        else:
            self._ledger.remember(deferred)

    async def bury(
        self,
        incoming: Incoming,
        error: ErrorInfo,
        *,
        reason: str,
        outcome: Outcome = Outcome.DEAD,
        result: DeliveryResult | None = None,
        may_park: bool = False,
    ) -> None:
        """Write a record to the DLQ unchanged, then record its outcome.

        If the record is too large for the DLQ, that gets a digest of the value, the key if it is
        short, and no foreign headers. `may_park` is explained at `DlqGate.store`.

        Raises:
            Parked: the DLQ takes nothing now, and the record may be parked.
        """
        await self._dlq.store(
            incoming.record, lambda: self._write_letters(incoming, error), may_park=may_park
        )
        self._metrics.dead_letter(reason)
        await self.settle(incoming, outcome, result)

    async def _write_letters(self, incoming: Incoming, error: ErrorInfo) -> None:
        """Write the record, or a digest if it is too large."""
        # Foreign headers are taken from the record, null values and all.
        ours = self._headers(incoming, error)._replace(others=()).encode()
        # What can't be decoded is kept unchanged; of two headers, the later one counts.
        names = () if isinstance(incoming.error, HeaderError) else {name for name, _ in ours}
        kept = [header for header in incoming.record.headers if header[0] not in names]
        record = incoming.record
        stub, unread = _without_value(record)
        letters = ((record, [*kept, *ours]), (stub, [*unread.encode(), *ours]))
        while True:
            for letter, headers in letters:
                with suppress(RecordRefused):
                    await self._write_letter(letter, headers)
                    self._dlq.took(record.partition)
                    return
            # When it takes more again, that may be enough for the whole record.
            self._dlq.refused(record.partition, "not even a digest is small enough")
            await asyncio.sleep(_LONGEST_RETRY_S)

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

    def _remember(self, event: StatusEvent, stored: RecordMetadata) -> None:
        self._ledger.note(event, partition=stored.partition, offset=stored.offset)
        self._metrics.outcome(event.outcome.value, event.relay)

    async def _hand_on(self, incoming: Incoming, tier: RetryTier, headers: MailHeaders) -> None:
        await self._publish(
            self._names.retry(tier),
            key=incoming.record.key,
            value=incoming.record.value,
            headers=headers.encode(),
            partition=incoming.record.partition,
            raises_too_large=True,
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

    async def _write_letter(self, record: ConsumedRecord, headers: HeaderList) -> None:
        await self._publish(
            self._names.dlq,
            # A record with neither key nor value can't be published: an empty key represents none.
            key=b"" if record.key is None and record.value is None else record.key,
            value=record.value,
            headers=headers,
            partition=record.partition,
            raises_too_large=True,
        )

    async def _publish(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: HeaderList,
        partition: int,
        raises_too_large: bool = False,
    ) -> RecordMetadata:
        def report(reason: str) -> None:
            self._dlq.refused(partition, reason)

        return await self._until_stored(
            topic,
            lambda: self._broker.publish(
                topic, key=key, value=value, headers=headers, partition=partition
            ),
            raises_too_large=raises_too_large,
            refused=report if topic == self._names.dlq else None,
        )

    async def _until_stored(
        self,
        topic: str,
        publish: Callable[[], Awaitable[_Stored]],
        *,
        raises_too_large: bool = False,
        refused: Callable[[str], None] | None = None,
    ) -> _Stored:
        state = self._publishing.get(topic)
        if state is None:
            state = StateLog(get_logger(__name__).bind(topic=topic), "publishing")
            self._publishing[topic] = state
        delay_s = _FIRST_RETRY_S
        while True:
            try:
                stored = await publish()
            except PublishError as error:
                if raises_too_large and _is_too_large(error):
                    raise
                if refused is not None:
                    refused(str(error))
                elif self._broker_answers():
                    state.down(f"{error}: outcomes wait")
                await asyncio.sleep(delay_s)
                delay_s = min(delay_s * 2, _LONGEST_RETRY_S)
            else:
                state.up()
                return stored


def _is_too_large(error: PublishError) -> bool:
    return isinstance(error, RecordRefused) and error.reason == "too-large"


def _without_value(record: ConsumedRecord) -> tuple[ConsumedRecord, Unread]:
    """Return the part of an oversized record that is kept, and the headers that say so."""
    value = record.value or b""
    key = record.key if len(record.key or b"") <= _MAX_KEPT_KEY_BYTES else None
    unread = Unread("none", record.offset, record.offset, len(value), sha256(value).hexdigest())
    return record._replace(key=key, value=None, headers=()), unread
