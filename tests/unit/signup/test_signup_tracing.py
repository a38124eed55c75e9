"""The trace of a signup: from the request into the record."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import httpx
import pytest

from mailtopic_client import MemoryBroker
from mailtopic_contract import KeyRing, decode_headers
from mailtopic_runtime import ManualClock, SpanKind, Tracer
from mailtopic_runtime.tracing_memory import MemorySpans
from mailtopic_signup.bootstrap import assemble
from mailtopic_signup.settings import RequestTracingSettings, SignupSettings
from support.conditions import until
from support.signup_service import Signup

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-01"
Traced = Callable[..., AbstractAsyncContextManager[Signup]]


@pytest.fixture
def spans() -> MemorySpans:
    return MemorySpans()


@pytest.fixture
def traced(settings: SignupSettings, spans: MemorySpans) -> Traced:
    """Make a signup service whose spans are kept."""

    @asynccontextmanager
    async def make(
        *, sample_ratio: float = 1.0, follow_callers: bool = True
    ) -> AsyncIterator[Signup]:
        tracing = RequestTracingSettings(follow_callers=follow_callers)
        own = settings.model_copy(update={"tracing": tracing})
        clock, broker = ManualClock(), MemoryBroker()
        tracer = Tracer(spans, sample_ratio=sample_ratio)
        parts = assemble(own, clock, broker, tracer=tracer)
        await parts.database.prepare()
        transport = httpx.ASGITransport(parts.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://signup.test") as client:
            yield Signup(own, parts, client, clock, broker, KeyRing.generate())
        await parts.database.close()

    return make


async def published_trace(signup: Signup) -> str | None:
    """Publish what waits, and return the traceparent of the only record."""
    publishing = asyncio.create_task(signup.parts.publisher.run())
    await until(lambda: signup.broker.records, "the mail is published")
    signup.parts.publisher.stop()
    await publishing
    (record,) = signup.broker.records
    trace = decode_headers(record.headers).trace
    return trace.traceparent if trace else None


async def test_the_record_continues_the_publication_which_continues_the_request(
    traced: Traced, spans: MemorySpans
) -> None:
    async with traced() as signup:
        await signup.post("/v1/signups", {"email": "anna@example.com"}, traceparent=PARENT)
        continued = await published_trace(signup)
    request, sending = spans.ended
    assert (request.title, request.kind) == ("POST /v1/signups", SpanKind.SERVER)
    assert (sending.title, sending.kind) == ("send mails", SpanKind.PRODUCER)
    assert request.parent_id == 0x00F067AA0BA902B7
    assert sending.parent_id == request.span_id
    assert {f"{span.trace_number:032x}" for span in spans.ended} == {TRACE_ID}
    assert continued == f"00-{TRACE_ID}-{sending.span_id:016x}-01"
    assert request.attributes == {
        "http.request.method": "POST",
        "http.route": "/v1/signups",
        "http.response.status_code": 202,
        "url.scheme": "http",
    }
    assert sending.attributes["messaging.destination.name"] == "mails"
    assert "anna" not in repr(spans.ended)


async def test_what_is_not_recorded_reaches_the_record_as_such(
    traced: Traced, spans: MemorySpans
) -> None:
    async with traced(sample_ratio=0.0) as signup:
        await signup.begin()
        continued = await published_trace(signup)
    assert not spans.ended
    assert continued is not None
    assert continued.endswith("-00")


@pytest.mark.parametrize(
    "given",
    [
        [""],
        ["x" * 5000],
        [PARENT[:-1]],
        [PARENT.upper()],
        [PARENT.replace("4", "\xd9")],
        [PARENT, PARENT],
    ],
)
async def test_a_hostile_traceparent_begins_a_trace_of_our_own(
    traced: Traced, spans: MemorySpans, given: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    async with traced() as signup:
        headers = [(b"traceparent", value.encode("latin1")) for value in given]
        answer = await signup.client.post(
            "/v1/signups", json={"email": "a@example.com"}, headers=headers
        )
        assert answer.status_code == 202
        continued = await published_trace(signup)
    assert continued is not None
    assert TRACE_ID not in continued
    assert all(span.parent_id is None or span.parent_id < 10 for span in spans.ended)
    assert TRACE_ID not in capsys.readouterr().out


async def test_who_does_not_follow_callers_neither_joins_nor_records_on_demand(
    traced: Traced, spans: MemorySpans
) -> None:
    async with traced(sample_ratio=0.0, follow_callers=False) as signup:
        await signup.post("/v1/signups", {"email": "anna@example.com"}, traceparent=PARENT)
        continued = await published_trace(signup)
    assert not spans.ended
    assert continued is not None
    assert TRACE_ID not in continued


async def test_probes_and_pages_are_not_traced(traced: Traced, spans: MemorySpans) -> None:
    async with traced() as signup:
        for path in ("/livez", "/readyz", "/metrics", "/", "/nowhere"):
            await signup.client.get(path)
        assert not spans.ended
        await signup.client.get("/v1/signups/someone@example.com")
    (kept,) = spans.ended
    assert kept.title == "GET /v1/signups/{challenge_id}"
    assert "someone" not in repr(kept)
