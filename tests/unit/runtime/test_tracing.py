"""Who is recorded, under which ids, and what it costs where nobody asked for it."""

import subprocess
import sys
from collections import Counter
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr, ValidationError

from mailtopic_runtime import NO_SPAN, NO_TRACER, SpanKind, Tracer, TracingSettings, child_span
from mailtopic_runtime.tracing import current_span, open_tracer, parse_headers
from mailtopic_runtime.tracing_memory import MemorySpans

TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def imported_with(module: str) -> list[str]:
    """Everything that a new process has imported when it has imported this."""
    command = [sys.executable, "-c", f"import sys, {module}; print(*sys.modules)"]
    found = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - ours
    return found.stdout.split()


def test_without_an_endpoint_there_is_no_tracing() -> None:
    tracer = open_tracer(TracingSettings(), service="test", version="1")
    assert tracer is NO_TRACER
    with tracer.span("work", SpanKind.SERVER, trace_id=uuid4()) as span:
        assert span is NO_SPAN
        assert span.traceparent is None
        assert child_span("part") is NO_SPAN


@pytest.mark.parametrize(
    "module",
    [
        "mailtopic_runtime",
        "mailtopic_sender.bootstrap",
        "mailtopic_client",
        "mailtopic_cli.__main__",
    ],
)
def test_opentelemetry_is_not_imported_while_tracing_is_off(module: str) -> None:
    assert not any(name.startswith("opentelemetry") for name in imported_with(module))


def test_signup_imports_no_sdk_and_no_exporter_while_tracing_is_off() -> None:
    # FastAPI itself imports OpenTelemetry's interface.
    imported = imported_with("mailtopic_signup.bootstrap")
    assert not {"opentelemetry.sdk", "opentelemetry.exporter"} & set(imported)


def test_a_trace_that_comes_recorded_is_continued_whatever_the_ratio() -> None:
    spans = MemorySpans()
    parent = (f"00-{TRACE_ID}-{SPAN_ID}-01", "rojo=1")
    with Tracer(spans, sample_ratio=0).span("work", SpanKind.SERVER, parent=parent) as span:
        assert span.trace_id == TRACE_ID
    (kept,) = spans.ended
    assert (kept.parent_id, kept.tracestate) == (int(SPAN_ID, 16), "rojo=1")


def test_a_trace_that_comes_unrecorded_stays_so_and_goes_on_as_it_came() -> None:
    spans = MemorySpans()
    for flags in ("00", "02"):
        parent = (f"00-{TRACE_ID}-{SPAN_ID}-{flags}", None)
        with Tracer(spans).span("work", SpanKind.SERVER, parent=parent) as span:
            assert not span.is_recorded
            assert span.traceparent is None
            assert child_span("part") is NO_SPAN
    assert not spans.begun


@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.5, 1.0])
def test_the_share_of_the_traces_begun_here_is_recorded(ratio: float) -> None:
    tracer = Tracer(MemorySpans(), sample_ratio=ratio)
    found = Counter(
        tracer.span("work", SpanKind.CONSUMER, trace_id=uuid4()).is_recorded for _ in range(4000)
    )
    assert found[True] / 4000 == pytest.approx(ratio, abs=0.04)


def test_who_repeats_the_work_on_a_mail_decides_the_same_and_is_in_the_same_trace() -> None:
    mail_id = UUID("11111111-2222-4333-8444-555555555555")
    tracers = [Tracer(MemorySpans(), sample_ratio=0.9) for _ in range(2)]
    found = {t.span("process", SpanKind.CONSUMER, trace_id=mail_id).trace_id for t in tracers}
    assert found == {mail_id.hex}


def test_who_is_not_recorded_says_so_to_those_after_it() -> None:
    span = Tracer(MemorySpans(), sample_ratio=0).span("work", SpanKind.SERVER)
    assert not span.is_recorded
    assert span.traceparent is not None
    assert span.traceparent.startswith("00-")
    assert span.traceparent.endswith("-00")
    assert len(span.traceparent) == 55


def test_parts_belong_to_the_span_in_which_the_task_is() -> None:
    spans = MemorySpans()
    with Tracer(spans).span("work", SpanKind.SERVER) as span:
        with child_span("part", SpanKind.CLIENT) as part:
            part.set("a", 1)
            part.set("nothing", None)
        assert current_span.get() is span
    assert current_span.get() is None
    part_kept, work = spans.ended
    assert (part_kept.parent_id, part_kept.attributes) == (work.span_id, {"a": 1})


def test_an_error_leaves_its_type_and_never_its_text() -> None:
    spans = MemorySpans()
    tracer = Tracer(spans)
    with pytest.raises(ValueError, match="someone"), tracer.span("work", SpanKind.SERVER):
        raise ValueError("someone@example.com 123456")
    assert spans.ended[0].error == "ValueError"
    assert "example" not in repr(spans.ended)


@pytest.mark.parametrize(
    "endpoint", ["collector:4318", "ftp://collector", "http://", "http://user:word@collector:4318"]
)
def test_an_endpoint_that_is_no_address_or_holds_a_password_is_refused(endpoint: str) -> None:
    with pytest.raises(ValidationError):
        TracingSettings(endpoint=endpoint)


def test_headers_are_pairs() -> None:
    given = SecretStr("Authorization=Basic YTpi==, x-tenant = one")
    assert parse_headers(given) == {"authorization": "Basic YTpi==", "x-tenant": "one"}
    with pytest.raises(ValidationError) as refused:
        TracingSettings(headers=SecretStr("hunter2"))
    assert "hunter2" not in str(refused.value)
