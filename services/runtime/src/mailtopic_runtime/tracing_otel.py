"""Spans by OpenTelemetry's SDK, to a collector by OTLP (HTTP, protobuf).

It never waits for the collector: spans go into a bounded queue, a thread takes them from there, and
what the collector doesn't take in time is dropped. That is said once, when it begins and when it is
over. The SDK's own words are left out. Of its environment variables OTEL_RESOURCE_ATTRIBUTES
matters, by which clusters tell more of a pod.
"""

import asyncio
import logging
import os
import socket
import threading
from collections.abc import Sequence
from contextvars import Token
from types import TracebackType
from typing import Self

from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace.propagation import set_span_in_context

from mailtopic_runtime.logs import get_logger
from mailtopic_runtime.state import StateLog
from mailtopic_runtime.tracing import Attribute, Span, SpanKind, TracingSettings, current_span
from mailtopic_runtime.tracing import parse_headers as _parse_headers

_TRACES_PATH = "/v1/traces"
_SEND_EVERY_MS = 1000.0
_BATCH_SPANS = 512
_KINDS = {kind: otel.SpanKind[kind.name] for kind in SpanKind}
_REMOTE_FLAGS = otel.TraceFlags(otel.TraceFlags.SAMPLED)


class OtelSpans:
    """See `mailtopic_runtime.tracing.RecordedSpans`."""

    def __init__(self, settings: TracingSettings, *, service: str, version: str) -> None:
        """Start the sending thread; no request is made before there are spans."""
        if settings.endpoint is None:
            raise ValueError("there is no endpoint")
        # A StateLog reports an unreachable collector once.
        for library in ("opentelemetry", "urllib3"):
            logging.getLogger(library).setLevel(logging.CRITICAL)
        exporter = _ToldOnce(
            OTLPSpanExporter(
                endpoint=_traces_url(settings.endpoint),
                headers=_parse_headers(settings.headers),
                timeout=settings.timeout_s,
                compression=Compression.Gzip,
            ),
            settings.endpoint,
        )
        self._ids = _Ids()
        self._provider = TracerProvider(
            sampler=ALWAYS_ON,  # sampling was decided before
            id_generator=self._ids,
            resource=_resource(service, version),
            shutdown_on_exit=False,
        )
        self._processor = BatchSpanProcessor(
            exporter,
            max_queue_size=settings.max_queued_spans,
            max_export_batch_size=min(_BATCH_SPANS, settings.max_queued_spans),
            schedule_delay_millis=_SEND_EVERY_MS,
        )
        self._provider.add_span_processor(self._processor)
        self._tracer = self._provider.get_tracer("mailtopic", version)
        self._flush_timeout_s = settings.flush_timeout_s

    def begin(
        self,
        name: str,
        kind: SpanKind,
        *,
        trace_id: int,
        parent_id: int | None,
        tracestate: str | None,
        start_ns: int | None,
    ) -> Span:
        """See `RecordedSpans.begin`."""
        if parent_id is None:
            self._ids.next_trace_id = trace_id
            context = Context()
        else:
            remote = otel.SpanContext(
                trace_id,
                parent_id,
                is_remote=True,
                trace_flags=_REMOTE_FLAGS,
                trace_state=otel.TraceState.from_header([tracestate] if tracestate else []),
            )
            context = set_span_in_context(otel.NonRecordingSpan(remote), Context())
        span = self._tracer.start_span(name, context, _KINDS[kind], start_time=start_ns)
        return _OtelSpan(self._tracer, span)

    async def close(self) -> None:
        """See `RecordedSpans.close`."""
        # In a daemon thread, so that the process doesn't wait for it at exit.
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def end() -> None:
            self._provider.shutdown()
            if not loop.is_closed():
                loop.call_soon_threadsafe(done.set)

        threading.Thread(target=end, name="last spans", daemon=True).start()
        try:
            async with asyncio.timeout(self._flush_timeout_s):
                await done.wait()
        except TimeoutError:
            get_logger(__name__).debug("tracing.unsent")


class _OtelSpan:
    """See `mailtopic_runtime.tracing.Span`."""

    is_recorded = True

    def __init__(self, tracer: otel.Tracer, span: otel.Span) -> None:
        self._tracer = tracer
        self._span = span
        self._has_failed = False
        self._token: Token[Span | None] | None = None

    @property
    def traceparent(self) -> str:
        context = self._span.get_span_context()
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-01"

    @property
    def trace_id(self) -> str:
        return f"{self._span.get_span_context().trace_id:032x}"

    def name(self, name: str) -> None:
        self._span.update_name(name)

    def set(self, key: str, value: Attribute | None) -> None:
        if value is not None:
            self._span.set_attribute(key, value)

    def fail(self, kind: str) -> None:
        self._has_failed = True
        self._span.set_attribute("error.type", kind)
        self._span.set_status(otel.StatusCode.ERROR)

    def part(
        self, name: str, kind: SpanKind = SpanKind.INTERNAL, *, start_ns: int | None = None
    ) -> Span:
        context = set_span_in_context(self._span, Context())
        span = self._tracer.start_span(name, context, _KINDS[kind], start_time=start_ns)
        return _OtelSpan(self._tracer, span)

    def __enter__(self) -> Self:
        self._token = current_span.set(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._token is not None:
            current_span.reset(self._token)
        if kind is not None and not self._has_failed:
            # Only its type: an error's text may quote its input.
            self.fail(kind.__name__)
        self._span.end()


class _Ids(IdGenerator):
    """Random ids, except for a trace with a given id."""

    def __init__(self) -> None:
        self._random = RandomIdGenerator()
        self.next_trace_id = 0

    def generate_span_id(self) -> int:
        return self._random.generate_span_id()

    def generate_trace_id(self) -> int:
        return self.next_trace_id or self._random.generate_trace_id()

    def is_trace_id_random(self) -> bool:
        return True


class _ToldOnce(SpanExporter):
    """Wraps an exporter and logs once when the collector accepts no spans."""

    def __init__(self, exporter: SpanExporter, endpoint: str) -> None:
        self._exporter = exporter
        self._endpoint = endpoint
        self._state = StateLog(get_logger(__name__), "tracing")

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            result = self._exporter.export(spans)
        except Exception as error:  # noqa: BLE001 - an export failure must affect nothing else
            result = SpanExportResult.FAILURE
            reason = f"the exporter failed: {type(error).__name__}"
        else:
            reason = "the collector takes no spans, they are dropped"
        if result is SpanExportResult.SUCCESS:
            self._state.up(endpoint=self._endpoint)
        else:
            self._state.down(reason, endpoint=self._endpoint)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def _resource(service: str, version: str) -> Resource:
    # A pod's name is its host's; elsewhere several may share a host.
    instance = f"{socket.gethostname()}-{os.getpid()}"
    named = {"name": service, "version": version, "instance.id": instance}
    return Resource.create({f"service.{name}": value for name, value in named.items()})


def _traces_url(endpoint: str) -> str:
    endpoint = endpoint.rstrip("/")
    return endpoint if endpoint.endswith(_TRACES_PATH) else endpoint + _TRACES_PATH
