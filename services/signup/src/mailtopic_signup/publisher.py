"""The publisher: moves mails from the outbox to Kafka, at least once, each with its own id.

It leases mails, publishes them side by side, and takes those out of the queue that Kafka
acknowledged. Leases are renewed while Kafka lets it wait, so they can be short: what a killed
process held is soon taken over. A process that dies between Kafka's acknowledgement and the mark
leaves a mail that is published again, with the same id, by which the sender knows it.

Expired mails are published as well: the sender records them as expired, and so every mail that was
accepted has an outcome.
"""

import asyncio
import contextlib

from mailtopic_client import BrokerClient, BrokerUnavailable, RecordMetadata, RecordRefused
from mailtopic_contract import MailHeaders, TraceContext, read_trace_context
from mailtopic_runtime import NO_TRACER, Clock, Span, SpanKind, StateLog, Tracer, get_logger
from mailtopic_signup.metrics import SignupMetrics
from mailtopic_signup.ports import DatabaseUnavailable, LeasedMail, OutboxStore

_FIRST_BACKOFF_S = 0.5
_MAX_BACKOFF_S = 5.0


class Publisher:
    """Publishes what is in the outbox until it is stopped. Several may run side by side.

    Args:
        outbox: where mails wait.
        broker: how records leave; closed by its owner.
        batch_size: mails that are on their way at the same time.
        lease_s: seconds after which others may take over what this publisher holds.
        poll_s: how long it sleeps when nobody wakes it.
        clock: tells when leases end.
        metrics: counts what was published.
        tracer: traces each publication.
        topic: whose mails it publishes; None: those of every topic.
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
        self._in_flight: dict[asyncio.Task[None], LeasedMail] = {}
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._backoff_s = 0.0
        self._paused_until_s = 0.0
        self._renew_at_s = 0.0

    @property
    def problem(self) -> str | None:
        """Why mails can't be published just now, in words; None while they can."""
        return self._state.reason

    def wake(self) -> None:
        """Tell that there is something new in the outbox."""
        self._wake.set()

    def stop(self) -> None:
        """Let `run` end after what is on its way."""
        self._stopping.set()
        self._wake.set()

    async def run(self) -> None:
        """Publish until stopped. Cancelled, it gives back what it holds."""
        try:
            await self._connect()
            while self._in_flight or not self._stopping.is_set():
                # Cleared first: what happens from here on brings another turn.
                self._wake.clear()
                with contextlib.suppress(DatabaseUnavailable):  # reported where it was found
                    await self._turn()
                await self._sleep()
        finally:
            await self._let_go()

    async def _turn(self) -> None:
        await self._settle()
        await self._renew()
        room = self._batch_size - len(self._in_flight)
        if room <= 0 or self._stopping.is_set() or self._pause_s() > 0:
            return
        leased = await self._outbox.lease(
            limit=room,
            now_ms=self._clock.now_ms(),
            lease_ms=self._lease_ms,
            topic=self._topic,
        )
        if not self._in_flight:
            self._renew_at_s = self._clock.monotonic_s() + self._lease_ms / 3000
        for each in leased:
            # Tasks begin in the order in which they are made: mails of one key stay in order.
            task = asyncio.create_task(self._publish(each))
            task.add_done_callback(lambda _: self._wake.set())
            self._in_flight[task] = each

    async def _publish(self, leased: LeasedMail) -> None:
        mail = leased.mail
        trace = read_trace_context([mail.traceparent]) if mail.traceparent else None
        with self._tracer.span(
            f"send {mail.topic}", SpanKind.PRODUCER, parent=trace, trace_id=mail.id
        ) as span:
            # Whoever reads the record continues this span.
            trace = TraceContext(span.traceparent) if span.traceparent else trace
            stored = await self._broker.publish(
                mail.topic,
                key=mail.key.encode(),
                value=mail.payload,
                headers=MailHeaders(mail_id=mail.id, trace=trace).encode(),
                timestamp_ms=mail.created_at,
            )
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
        """Mark what Kafka acknowledged; give back what it didn't.

        Tasks are forgotten only afterwards: if the database fails, they are settled next time.
        """
        done = {task: leased for task, leased in self._in_flight.items() if task.done()}
        failed = {task: leased for task, leased in done.items() if task.exception()}
        stored = [leased.mail.id for task, leased in done.items() if task not in failed]
        if stored:
            await self._outbox.mark_published(stored, now_ms=self._clock.now_ms())
            for task in done.keys() - failed.keys():
                del self._in_flight[task]
            self._published.inc(len(stored))
            self._backoff_s = 0.0
            self._state.up()
        if failed:
            self._report([task.exception() for task in failed])
            self._back_off()
            until_ms = self._clock.now_ms() + round(self._backoff_s * 1000)
            await self._outbox.postpone(list(failed.values()), until_ms=until_ms)
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
        await self._outbox.postpone(list(self._in_flight.values()), until_ms=until_ms)
        for task, leased in self._in_flight.items():
            self._in_flight[task] = LeasedMail(leased.mail, until_ms, leased.attempts)
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
            leased
            for task, leased in self._in_flight.items()
            if task.cancelled() or task.exception()
        ]
        if unknown:
            with contextlib.suppress(DatabaseUnavailable):
                await self._outbox.postpone(unknown, until_ms=self._clock.now_ms())


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
