"""The shipped fake of recorded spans: it keeps them."""

from contextvars import Token
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from mailtopic_runtime.tracing import Attribute, Span, SpanKind, current_span


@dataclass(slots=True)
class KeptSpan:
    """A span as kept by the fake; `error` is the word it failed with."""

    title: str
    kind: SpanKind
    trace_number: int
    span_id: int
    parent_id: int | None
    tracestate: str | None
    attributes: dict[str, Attribute] = field(default_factory=dict)
    error: str | None = None


@dataclass(slots=True)
class MemorySpans:
    """Keeps spans in memory, in the order in which they ended; see `RecordedSpans`."""

    ended: list[KeptSpan] = field(default_factory=list)
    is_closed: bool = False
    begun: int = 0

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
        del start_ns
        self.begun += 1
        return _MemorySpan(self, KeptSpan(name, kind, trace_id, self.begun, parent_id, tracestate))

    async def close(self) -> None:
        """Record the call."""
        self.is_closed = True

    def named(self, name: str) -> list[KeptSpan]:
        """Return the spans of this name that have ended."""
        return [span for span in self.ended if span.title == name]


class _MemorySpan:
    """See `mailtopic_runtime.tracing.Span`."""

    is_recorded = True

    def __init__(self, spans: MemorySpans, kept: KeptSpan) -> None:
        self._spans = spans
        self._kept = kept
        self._token: Token[Span | None] | None = None

    @property
    def traceparent(self) -> str:
        return f"00-{self._kept.trace_number:032x}-{self._kept.span_id:016x}-01"

    @property
    def trace_id(self) -> str:
        return f"{self._kept.trace_number:032x}"

    def name(self, name: str) -> None:
        self._kept.title = name

    def set(self, key: str, value: Attribute | None) -> None:
        if value is not None:
            self._kept.attributes[key] = value

    def fail(self, kind: str) -> None:
        self._kept.error = kind

    def part(
        self, name: str, kind: SpanKind = SpanKind.INTERNAL, *, start_ns: int | None = None
    ) -> Span:
        return self._spans.begin(
            name,
            kind,
            trace_id=self._kept.trace_number,
            parent_id=self._kept.span_id,
            tracestate=self._kept.tracestate,
            start_ns=start_ns,
        )

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
        if kind is not None and self._kept.error is None:
            self.fail(kind.__name__)
        self._spans.ended.append(self._kept)
