"""The publisher: moves mails from the outbox to Kafka, at least once, each with its own id.

It leases mails, publishes those of a partition together, partitions side by side, and takes those
out of the queue that Kafka acknowledged. Leases are renewed while Kafka lets it wait, so they can
be short: what a killed process held is soon taken over. A process that dies between Kafka's
acknowledgement and the mark leaves a mail that is published again, with the same id, by which the
sender knows it.

Expired mails are published as well: the sender records them as expired, and so every mail that was
accepted has an outcome.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from mailtopic_client import (
    BrokerClient,
    BrokerUnavailable,
    OutgoingRecord,
    RecordMetadata,
    RecordRefused,
)
from mailtopic_contract import MailHeaders, read_trace_context
from mailtopic_runtime import NO_TRACER, Clock, Span, SpanKind, StateLog, Tracer, get_logger
from mailtopic_signup.metrics import SignupMetrics
from mailtopic_signup.ports import DatabaseUnavailable, LeasedMail, OutboxStore

_FIRST_BACKOFF_S = 0.5
_MAX_BACKOFF_S = 5.0
_UNKNOWN = -1
_BATCH_BYTES = 65_536
"""Payloads that are published together: half of what the client puts into one of Kafka's batches.
So records and headers fit as well, and what is published together gets neighbouring offsets."""


@dataclass(frozen=True, slots=True)
class _Batch:
    """Mails on their way together; _UNKNOWN is the partition of those still to be told apart."""

    mails: tuple[LeasedMail, ...]
    topic: str
    partition: int = _UNKNOWN


class Publisher:
    """Publishes the outbox until it is stopped. Several may run side by side.

    Args:
        outbox: where mails wait.
        broker: publishes records; closed by its owner.
        batch_size: mails in flight at the same time.
        lease_s: seconds after which others may take over this publisher's mails.
        poll_s: how long it sleeps unless woken.
        clock: the time at which leases end.
        metrics: counts what was published.
        tracer: traces each publication.
        topic: the topic to publish mails to; None: every topic.
    """

    def __init__(
        self,
        outbox: OutboxStore,
        broker: BrokerClient,
        *,
        batch_size: int,
        lease_s: float,
        poll_s: float,
        clock: Clock,
        metrics: SignupMetrics,
        tracer: Tracer = NO_TRACER,
        topic: str | None = None,
    ) -> None:
        self._topic = topic
        self._outbox = outbox
        self._broker = broker
        self._batch_size = batch_size
        self._lease_ms = round(lease_s * 1000)
        self._poll_s = poll_s
        self._clock = clock
        self._tracer = tracer
        self._published = metrics.published
        log = get_logger(__name__)
        self._log = log
        self._state = StateLog(log.bind(topic=topic) if topic else log, "publisher")
        # A task returns what to send next; nothing once its batch is stored.
        self._in_flight: dict[asyncio.Task[list[_Batch]], _Batch] = {}
        self._wake = asyncio.Event()
        self._has_news = True
        self._look_at_s = 0.0
        self._stopping = asyncio.Event()
        self._backoff_s = 0.0
        self._paused_until_s = 0.0
        self._renew_at_s = 0.0

    @property
    def problem(self) -> str | None:
        """Why mails can't be published just now, in words; None while they can."""
        return self._state.reason

    def wake(self) -> None:
        """Signal that there is something new in the outbox."""
        self._has_news = True
        self._wake.set()

    def stop(self) -> None:
        """Let `run` end after the mails in flight."""
        self._stopping.set()
        self._wake.set()

    async def run(self) -> None:
        """Publish until stopped. If cancelled, it gives back its leases."""
        try:
            await self._connect()
            while self._in_flight or not self._stopping.is_set():
                # Cleared first: anything that happens from here on causes another turn.
                self._wake.clear()
                with contextlib.suppress(DatabaseUnavailable):  # reported where it was found
                    await self._turn()
                await self._sleep()
        finally:
            await self._let_go()

    async def _turn(self) -> None:
        await self._settle()
        await self._renew()
        room = self._batch_size - sum(len(batch.mails) for batch in self._in_flight.values())
        if room <= 0 or self._stopping.is_set() or self._pause_s() > 0 or not self._may_find():
            return
        self._has_news = False
        began_s = self._clock.monotonic_s()
        leased = await self._lease(room)
        # There may be more than were requested.
        self._has_news = self._has_news or len(leased) == room
        if not self._in_flight:
            self._renew_at_s = began_s + self._lease_ms / 3000
        # After a wait for the database as long as a lease, the leases have expired.
        now_ms = self._clock.now_ms()
        leased = [each for each in leased if each.lease_until > now_ms]
        for topic in dict.fromkeys(each.mail.topic for each in leased):
            self._send(_Batch(tuple(each for each in leased if each.mail.topic == topic), topic))

    def _may_find(self) -> bool:
        # Mails of other processes, such as a dead one, are looked for periodically.
        now_s = asyncio.get_running_loop().time()
        if not self._has_news and now_s < self._look_at_s:
            return False
        self._look_at_s = now_s + self._poll_s
        return True

    async def _lease(self, limit: int) -> Sequence[LeasedMail]:
        try:
            return await self._outbox.lease(
                limit=limit,
                now_ms=self._clock.now_ms(),
                lease_ms=self._lease_ms,
                topic=self._topic,
            )
        except DatabaseUnavailable:
            self._has_news = True
            raise

    def _send(self, batch: _Batch) -> None:
        # Tasks begin in the order in which they are made: mails of one key stay in order.
        work = self._tell_apart(batch) if batch.partition == _UNKNOWN else self._publish(batch)
        task = asyncio.create_task(work)
        task.add_done_callback(lambda _: self._wake.set())
        self._in_flight[task] = batch

    async def _tell_apart(self, batch: _Batch) -> list[_Batch]:
        """Return a batch's mails by partition, in parts that are not too long."""
        keys = [each.mail.key.encode() for each in batch.mails]
        partitions = await self._broker.partitions_for(batch.topic, keys)
        by_partition: dict[int, list[LeasedMail]] = {}
        for each, partition in zip(batch.mails, partitions, strict=True):
            by_partition.setdefault(partition, []).append(each)
        return [
            _Batch(part, batch.topic, partition)
            for partition, mails in by_partition.items()
            for part in _parts(mails)
        ]

    async def _publish(self, batch: _Batch) -> list[_Batch]:
        with contextlib.ExitStack() as stack:
            spans = [stack.enter_context(self._span(each)) for each in batch.mails]
            records = [_record(*each) for each in zip(batch.mails, spans, strict=True)]
            try:
                offsets = await self._broker.publish_batch(batch.topic, batch.partition, records)
            except RecordRefused:
                if len(batch.mails) == 1:
                    raise
                # A rejected mail must not hold up the others.
                return [_Batch((each,), batch.topic, batch.partition) for each in batch.mails]
            for leased, span, offset in zip(batch.mails, spans, offsets, strict=True):
                stored = RecordMetadata(batch.topic, batch.partition, offset)
                self._tell_published(leased, span, stored)
        return []

    def _span(self, leased: LeasedMail) -> Span:
        mail = leased.mail
        trace = read_trace_context([mail.traceparent]) if mail.traceparent else None
        return self._tracer.span(
            f"send {mail.topic}", SpanKind.PRODUCER, parent=trace, trace_id=mail.id
        )

    def _tell_published(self, leased: LeasedMail, span: Span, stored: RecordMetadata) -> None:
        mail = leased.mail
        if span.is_recorded:
            _describe(span, leased, stored)
        self._log.info(
            "mail.published",
            topic=stored.topic,
            id=str(mail.id),
            partition=stored.partition,
            offset=stored.offset,
            waited_ms=max(0, self._clock.now_ms() - mail.created_at),
            **({"trace_id": span.trace_id} if span.trace_id else {}),
        )

    async def _settle(self) -> None:
        """Mark what Kafka acknowledged; give back what it didn't; send what is next.

        Tasks are forgotten only afterwards: if the database fails, they are settled next time.
        """
        done = {task: batch for task, batch in self._in_flight.items() if task.done()}
        failed = {task: batch for task, batch in done.items() if task.exception()}
        for task in done.keys() - failed.keys():
            if following := task.result():
                del self._in_flight[task], done[task]
                for batch in following:
                    self._send(batch)
        stored = [task for task in done if task not in failed]
        if stored:
            ids = [each.mail.id for task in stored for each in done[task].mails]
            await self._outbox.mark_published(ids, now_ms=self._clock.now_ms())
            for task in stored:
                del self._in_flight[task]
            self._published.inc(len(ids))
            self._backoff_s = 0.0
            self._state.up()
        if failed:
            self._report([task.exception() for task in failed])
            self._back_off()
            until_ms = self._clock.now_ms() + round(self._backoff_s * 1000)
            await self._outbox.postpone(_mails(failed.values()), until_ms=until_ms)
            for task in failed:
                del self._in_flight[task]

    def _report(self, errors: list[BaseException | None]) -> None:
        unexpected = [e for e in errors if not isinstance(e, BrokerUnavailable | RecordRefused)]
        if unexpected and unexpected[0]:
            raise unexpected[0]
        self._state.down(str(errors[0]))

    def _back_off(self) -> None:
        limit_s = min(_MAX_BACKOFF_S, self._lease_ms / 1000)
        self._backoff_s = min(limit_s, self._backoff_s * 2 or _FIRST_BACKOFF_S)
        self._paused_until_s = self._clock.monotonic_s() + self._backoff_s

    async def _renew(self) -> None:
        if not self._in_flight or self._clock.monotonic_s() < self._renew_at_s:
            return
        until_ms = self._clock.now_ms() + self._lease_ms
        await self._outbox.postpone(_mails(self._in_flight.values()), until_ms=until_ms)
        for task, batch in self._in_flight.items():
            mails = tuple(replace(leased, lease_until=until_ms) for leased in batch.mails)
            self._in_flight[task] = replace(batch, mails=mails)
        self._renew_at_s = self._clock.monotonic_s() + self._lease_ms / 3000

    async def _sleep(self) -> None:
        pause_s = self._pause_s()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(self._poll_s, pause_s) if pause_s else self._poll_s):
                await self._wake.wait()

    def _pause_s(self) -> float:
        return max(0.0, self._paused_until_s - self._clock.monotonic_s())

    async def _connect(self) -> None:
        connecting = asyncio.create_task(self._broker.connect())
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({connecting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not connecting.done():
            connecting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await connecting

    async def _let_go(self) -> None:
        for task in self._in_flight:
            task.cancel()
        await asyncio.gather(*self._in_flight, return_exceptions=True)
        unknown = [
            batch
            for task, batch in self._in_flight.items()
            if task.cancelled() or task.exception() or task.result()
        ]
        if unknown:
            with contextlib.suppress(DatabaseUnavailable):
                await self._outbox.postpone(_mails(unknown), until_ms=self._clock.now_ms())


def _mails(batches: Iterable[_Batch]) -> list[LeasedMail]:
    return [each for batch in batches for each in batch.mails]


def _parts(mails: Sequence[LeasedMail]) -> list[tuple[LeasedMail, ...]]:
    """Cut mails into parts of _BATCH_BYTES at most; a longer mail is a part of its own."""
    parts: list[list[LeasedMail]] = []
    room = 0
    for each in mails:
        room -= len(each.mail.payload)
        if room < 0:
            parts.append([])
            room = _BATCH_BYTES - len(each.mail.payload)
        parts[-1].append(each)
    return [tuple(part) for part in parts]


def _record(leased: LeasedMail, span: Span) -> OutgoingRecord:
    mail = leased.mail
    # The record's consumer continues this span.
    given = [span.traceparent or mail.traceparent or ""]
    headers = MailHeaders(mail_id=mail.id, trace=read_trace_context(given))
    return OutgoingRecord(mail.key.encode(), mail.payload, headers.encode(), mail.created_at)


def _describe(span: Span, leased: LeasedMail, stored: RecordMetadata) -> None:
    """Set what OpenTelemetry's semantic conventions for messaging ask for."""
    span.set("messaging.system", "kafka")
    span.set("messaging.operation.type", "send")
    span.set("messaging.operation.name", "send")
    span.set("messaging.destination.name", stored.topic)
    span.set("messaging.destination.partition.id", str(stored.partition))
    span.set("messaging.kafka.offset", stored.offset)
    span.set("messaging.message.id", str(leased.mail.id))
    span.set("mailtopic.outbox.attempts", leased.attempts)
