"""Reports what becomes of a mail: one log line for each outcome, its stages, and its span.

Nothing here holds an address or a code: the recipient is a tag that can be computed only with the
sealing keys.
"""

from mailtopic_contract import (
    KeyRing,
    MailHeaders,
    MailRecord,
    Outcome,
    TraceContext,
    is_in_seconds,
)
from mailtopic_runtime import (
    Blank,
    Clock,
    RepeatedLine,
    Span,
    SpanKind,
    Tracer,
    get_logger,
    now_ns,
)
from mailtopic_runtime.tracing import current_span
from mailtopic_sender.domain.replies import ReplyClass
from mailtopic_sender.engine.incoming import Incoming
from mailtopic_sender.mail_ports import DeliveryResult
from mailtopic_sender.metrics import SenderMetrics

_GOOD = frozenset({Outcome.ACCEPTED, Outcome.SUPERSEDED})
_EVENTS = {outcome: f"mail.{outcome.value}" for outcome in Outcome}
_REMEMBERED_LINES = 256


class Teller:
    """Logs, measures and traces how a sender handles its mails.

    Args:
        tracer: makes the spans.
        metrics: counts and measures.
        clock: the time.
        keyring: its keys make recipients' tags; without one, lines name no recipient.
    """

    def __init__(
        self,
        *,
        tracer: Tracer,
        metrics: SenderMetrics,
        clock: Clock,
        keyring: KeyRing | None,
    ) -> None:
        self._tracer = tracer
        self._metrics = metrics
        self._clock = clock
        self._keyring = keyring
        self._log = get_logger(__name__).bind(topic=metrics.topic)
        self._has_told_seconds = False
        # Keyed by what differs between few mails: the relay, and its reply's codes.
        self._accepted: dict[tuple[str, str | None], RepeatedLine] = {}

    def is_recorded(self, incoming: Incoming) -> bool:
        """Whether the mail's trace is sampled, so that `span` returns a span that is recorded."""
        return self._tracer.records(parent=incoming.headers.trace, trace_id=incoming.mail_id)

    def received(self, incoming: Incoming) -> None:
        """Report that a record was read; times in seconds are counted, and logged once."""
        if is_in_seconds(incoming.record.timestamp_ms):
            self._metrics.times_in_seconds.inc()
            if not self._has_told_seconds:
                self._has_told_seconds = True
                self._log.warning(
                    "record.time_in_seconds",
                    partition=incoming.record.partition,
                    offset=incoming.record.offset,
                    reason="the producer gives record times in seconds: they are taken as such, "
                    "but Kafka's retention takes them for 1970 and may delete records unread",
                )
        self._metrics.queued(incoming.queue_s)

    def span(self, incoming: Incoming) -> Span:
        """Return the span of one record, from its reception to its outcome.

        A mail without a trace gets one that derives from its id, so that a repeated attempt after a
        crash continues it.
        """
        if not self._tracer.is_on:
            return self._tracer.span("process", SpanKind.CONSUMER)
        record, here_ns = incoming.record, now_ns()
        start_ns = here_ns - round(1e9 * (self._clock.monotonic_s() - incoming.received_s))
        span = self._tracer.span(
            f"process {record.topic}",
            SpanKind.CONSUMER,
            parent=incoming.headers.trace,
            trace_id=incoming.mail_id,
            start_ns=start_ns,
        )
        if span.is_recorded:
            span.set("messaging.system", "kafka")
            span.set("messaging.operation.type", "process")
            span.set("messaging.operation.name", "process")
            span.set("messaging.destination.name", record.topic)
            span.set("messaging.destination.partition.id", str(record.partition))
            span.set("messaging.kafka.offset", record.offset)
            span.set("messaging.message.id", str(incoming.mail_id))
            span.set("mailtopic.attempt", incoming.attempt)
            with span.part("wait for lane", start_ns=start_ns):
                pass
        return span

    def attempted(self, incoming: Incoming, result: DeliveryResult) -> DeliveryResult:
        """Measure one attempt's stages; returns the result with the preceding waits."""
        since_received_s = self._clock.monotonic_s() - incoming.received_s
        waited_s = since_received_s - result.connect_s - result.transmit_s
        wait_s = max(waited_s, 0.0)
        self._metrics.attempt(wait_s, result.connect_s, result.transmit_s)
        if result.reply_class is not ReplyClass.ACCEPTED:
            return result._replace(wait_s=wait_s)
        return DeliveryResult(  # `_replace` costs several times as much
            ReplyClass.ACCEPTED,
            result.relay,
            result.phase,
            result.smtp,
            None,
            result.connect_s,
            result.transmit_s,
            wait_s,
        )

    def delivered(self, mail: MailRecord) -> float:
        """Measure a delivery; returns how long it took, seconds since the mail was accepted.

        A recorded trace becomes the delivery's exemplar.
        """
        now_ms = self._clock.now_ms()
        seconds = (now_ms - mail.accepted_at) / 1000
        span = current_span.get()
        example = {"trace_id": span.trace_id} if span is not None and span.trace_id else None
        self._metrics.delivered(seconds, now_ms, example)
        return seconds

    def accepted(
        self, incoming: Incoming, mail: MailRecord, result: DeliveryResult, seconds: float
    ) -> None:
        """Log that a mail is recorded as delivered."""
        if current_span.get() is not None:
            self.ended(incoming, Outcome.ACCEPTED, result, seconds=seconds)
            return
        about = (result.relay, result.smtp)
        line = self._accepted.get(about)
        if line is None:
            line = self._accepted_line(result)
            if len(self._accepted) < _REMEMBERED_LINES:
                self._accepted[about] = line
        keyring = self._keyring
        line.write(
            mail.id,
            incoming.headers.attempt,
            1000 * incoming.queue_s,
            *(() if keyring is None else (keyring.recipient_tag(mail.address),)),
            1000 * result.wait_s,
            1000 * result.connect_s,
            1000 * result.transmit_s,
            seconds,
        )

    def _accepted_line(self, result: DeliveryResult) -> RepeatedLine:
        recipient = {} if self._keyring is None else {"recipient": Blank.WORD}
        return self._log.repeated(
            _EVENTS[Outcome.ACCEPTED],
            id=Blank.WORD,
            attempt=Blank.NUMBER,
            queue_ms=Blank.TENTHS,
            **recipient,
            relay=result.relay,
            reply=result.reply_class.value,
            smtp=result.smtp or "",
            phase=result.phase,
            wait_ms=Blank.TENTHS,
            connect_ms=Blank.TENTHS,
            transmit_ms=Blank.TENTHS,
            seconds=Blank.NUMBER,
        )

    def ended(
        self,
        incoming: Incoming,
        outcome: Outcome,
        result: DeliveryResult | None,
        **details: float | str,
    ) -> None:
        """Report a recorded outcome."""
        fields: dict[str, float | str] = {
            "id": str(incoming.mail_id),
            "attempt": incoming.attempt,
            "queue_ms": _ms(incoming.queue_s),
        }
        if incoming.mail is not None and self._keyring is not None:
            fields["recipient"] = self._keyring.recipient_tag(incoming.mail.address)
        if result is not None:
            fields["relay"] = result.relay
            fields["reply"] = result.reply_class.value
            fields["smtp"] = result.smtp or ""
            fields["phase"] = result.phase
            fields["wait_ms"] = _ms(result.wait_s)
            fields["connect_ms"] = _ms(result.connect_s)
            fields["transmit_ms"] = _ms(result.transmit_s)
        if details:
            fields |= details
        span = current_span.get()
        if span is not None:
            fields["trace_id"] = span.trace_id or ""
            span.set("mailtopic.outcome", outcome.value)
            if outcome not in _GOOD:
                span.fail(outcome.value)
        self._log.info(_EVENTS[outcome], **fields)


def trace_of(headers: MailHeaders) -> TraceContext | None:
    """Return the trace for the next attempt: the incoming one, else the one started here."""
    if headers.trace is not None:
        return headers.trace
    span = current_span.get()
    own = span.traceparent if span is not None else None
    return TraceContext(own) if own else None


def _ms(seconds: float) -> float:
    # To a tenth, as round() does, which costs several times as much.
    return int(max(seconds, 0.0) * 10_000 + 0.5) / 10
