"""Spans of a mail's path, at no cost while tracing is off.

Code that creates spans imports only this module. OpenTelemetry is imported only if an endpoint is
set (docs/adr/0011). Whether a trace is recorded is decided once, where it begins; later processes
follow the flag in the mail's traceparent.

A span never holds an address, a code or a body: callers pass only names, numbers and ids.
"""

import random
import time
from contextvars import ContextVar
from enum import Enum
from types import TracebackType
from typing import Protocol, Self
from uuid import UUID

from pydantic import Field, SecretStr, field_validator

from mailtopic_runtime.errors import SettingError
from mailtopic_runtime.settings import SettingsGroup

_RANDOM_BITS = 56
_SAMPLED = 1
Attribute = str | int | float | bool


class TracingSettings(SettingsGroup):
    """Where spans are sent; settings below MAILTOPIC_TRACING__."""

    endpoint: str | None = Field(default=None, pattern=r"^https?://[^\s/@]+(/[^\s@]*)?$")
    """The collector's OTLP/HTTP address, such as http://otel-collector:4318. Unset: no tracing."""

    sample_ratio: float = Field(default=0.1, ge=0, le=1)
    """Share of the traces begun here that are recorded. A trace continued here follows its flag."""

    headers: SecretStr | None = None
    """Headers sent with each request to the collector: name=value,name=value."""

    timeout_s: float = Field(default=5.0, gt=0, le=60)
    """Seconds to wait for the collector to accept a batch; then the batch is dropped."""

    max_queued_spans: int = Field(default=2048, ge=1, le=100_000)
    """Maximum number of spans queued for the collector; beyond that the oldest are dropped."""

    flush_timeout_s: float = Field(default=2.0, ge=0, le=30)
    """Seconds that a stopping process waits for its last spans to be sent."""

    @field_validator("headers")
    @classmethod
    def _are_pairs(cls, headers: SecretStr | None) -> SecretStr | None:
        parse_headers(headers)
        return headers


def parse_headers(headers: SecretStr | None) -> dict[str, str]:
    """Return the headers listed in a setting.

    Raises:
        ValueError: it isn't name=value,name=value in ASCII.
    """
    text = headers.get_secret_value().strip() if headers is not None else ""
    found: dict[str, str] = {}
    for pair in text.split(",") if text else ():
        name, equals, value = pair.strip().partition("=")
        if not equals or not name or not pair.isascii() or not pair.isprintable():
            raise ValueError("must be name=value,name=value")
        found[name.strip().lower()] = value.strip()
    return found


class SpanKind(Enum):
    """A span's role towards its parent (OpenTelemetry's span kinds)."""

    INTERNAL = "internal"
    SERVER = "server"
    CLIENT = "client"
    PRODUCER = "producer"
    CONSUMER = "consumer"


class Span(Protocol):
    """A timed operation. One that isn't recorded accepts all calls and keeps nothing."""

    @property
    def is_recorded(self) -> bool:
        """Whether details are recorded."""
        ...

    @property
    def traceparent(self) -> str | None:
        """The context to pass on; None: pass on the received one."""
        ...

    @property
    def trace_id(self) -> str | None:
        """The trace's id, 32 hex digits, if it is recorded."""
        ...

    def name(self, name: str) -> None:
        """Rename it, once its purpose is known."""
        ...

    def set(self, key: str, value: Attribute | None) -> None:
        """Set a detail; None sets nothing."""
        ...

    def fail(self, kind: str) -> None:
        """Mark it as failed, with one of a few known words; never a text from outside."""
        ...

    def part(
        self, name: str, kind: SpanKind = SpanKind.INTERNAL, *, start_ns: int | None = None
    ) -> "Span":
        """Return a child span; enter it with `with`. It began at start_ns (epoch), else now."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class UnrecordedSpan:
    """A span that isn't recorded and only passes its context on."""

    is_recorded = False
    trace_id = None

    def __init__(self, traceparent: str | None = None) -> None:
        self.traceparent = traceparent

    def name(self, name: str) -> None:
        """Do nothing."""

    def set(self, key: str, value: Attribute | None) -> None:
        """Do nothing."""

    def fail(self, kind: str) -> None:
        """Do nothing."""

    def part(
        self, name: str, kind: SpanKind = SpanKind.INTERNAL, *, start_ns: int | None = None
    ) -> "Span":
        """Return a child that isn't recorded either."""
        del name, kind, start_ns
        return NO_SPAN

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


NO_SPAN = UnrecordedSpan()
current_span: ContextVar[Span | None] = ContextVar("mailtopic_span", default=None)
"""The running task's current span, if it is recorded."""


class RecordedSpans(Protocol):
    """Creates recorded spans and sends them to the collector."""

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
        """Begin a span that the `with` statement ends."""
        ...

    async def close(self) -> None:
        """Send the queued spans, within the flush timeout."""
        ...


class Tracer:
    """Begins traces and continues those that come from outside.

    Args:
        spans: what records them; None: nothing is recorded.
        sample_ratio: the share of the traces begun here that is recorded.
    """

    def __init__(self, spans: RecordedSpans | None = None, *, sample_ratio: float = 1.0) -> None:
        self._spans = spans
        # Consistent with OpenTelemetry's samplers: the last 56 bits of a trace id are random.
        self._limit = round(sample_ratio * 2**_RANDOM_BITS)

    @property
    def is_on(self) -> bool:
        """Whether anything can be recorded."""
        return self._spans is not None

    def records(
        self, *, parent: tuple[str, str | None] | None = None, trace_id: UUID | None = None
    ) -> bool:
        """Return whether `span` would return one that is recorded; a random trace_id is not known.

        Cheap: callers use it to skip preparing details that wouldn't be recorded.
        """
        if self._spans is None:
            return False
        if parent is not None:
            return bool(int(parent[0][53:], 16) & _SAMPLED)
        return trace_id is None or trace_id.int % 2**_RANDOM_BITS < self._limit

    def span(
        self,
        name: str,
        kind: SpanKind,
        *,
        parent: tuple[str, str | None] | None = None,
        trace_id: UUID | None = None,
        start_ns: int | None = None,
    ) -> Span:
        """Return a span that continues a trace or begins one; enter it with `with`.

        Args:
            name: one of a small set; never anything from outside.
            kind: its role towards its parent.
            parent: a valid traceparent of version 00 and the tracestate beside it.
            trace_id: the id of a trace that begins here, so that a repetition of this work
                after a crash is in the same one; else random.
            start_ns: when it began, epoch nanoseconds; else now.
        """
        if self._spans is None:
            return NO_SPAN
        if parent is not None:
            traceparent, tracestate = parent
            if not self.records(parent=parent):
                return NO_SPAN
            return self._spans.begin(
                name,
                kind,
                trace_id=int(traceparent[3:35], 16),
                parent_id=int(traceparent[36:52], 16),
                tracestate=tracestate,
                start_ns=start_ns,
            )
        number = trace_id.int if trace_id is not None else 0
        number = number or _random_id(128)
        if number % 2**_RANDOM_BITS >= self._limit:
            return UnrecordedSpan(f"00-{number:032x}-{_random_id(64):016x}-00")
        return self._spans.begin(
            name, kind, trace_id=number, parent_id=None, tracestate=None, start_ns=start_ns
        )

    async def close(self) -> None:
        """Send the queued spans, for at most MAILTOPIC_TRACING__FLUSH_TIMEOUT_S."""
        if self._spans is not None:
            await self._spans.close()


NO_TRACER = Tracer()


def child_span(name: str, kind: SpanKind = SpanKind.INTERNAL) -> Span:
    """Return a child of the task's current span; enter it with `with`.

    If that isn't recorded, this does nothing, at almost no cost.
    """
    parent = current_span.get()
    if parent is None:
        return NO_SPAN
    return parent.part(name, kind)


def open_tracer(settings: TracingSettings, *, service: str, version: str) -> Tracer:
    """Return the tracer described by the settings.

    Raises:
        SettingError: an endpoint is set, and OpenTelemetry isn't installed.
    """
    if settings.endpoint is None:
        return NO_TRACER
    try:
        from mailtopic_runtime.tracing_otel import OtelSpans  # noqa: PLC0415 - costs 0.2 s
    except ImportError:
        raise SettingError(
            "MAILTOPIC_TRACING__ENDPOINT", "needs mailtopic-runtime[tracing], not installed here"
        ) from None
    spans = OtelSpans(settings, service=service, version=version)
    return Tracer(spans, sample_ratio=settings.sample_ratio)


def _random_id(bits: int) -> int:
    # Not a secret, only unlikely to collide; and never 0, which means none.
    return random.getrandbits(bits) or 1


def now_ns() -> int:
    """Return the wall time in epoch nanoseconds, the unit of spans."""
    return time.time_ns()
