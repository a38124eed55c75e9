"""A mail's spans, log lines and examples, in the engine on its fakes."""

import asyncio
from uuid import UUID

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest
from structlog.testing import capture_logs

from mailtopic_client import HeaderList
from mailtopic_contract import KeyRing, Outcome, TraceContext, decode_headers, parse_address
from mailtopic_runtime import SpanKind, Tracer
from mailtopic_runtime.tracing_memory import MemorySpans
from mailtopic_sender.domain.replies import ReplyClass
from mailtopic_sender.engine.lease import Lease
from mailtopic_sender.mail_ports import DeliveryResult
from support.conditions import until
from support.engines import NAMES, Engine

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-01"
TRACED = [("traceparent", PARENT.encode()), ("tracestate", b"rojo=1")]
GREYLISTED = DeliveryResult(
    ReplyClass.GREYLISTED,
    relay="first",
    phase="rcpt",
    smtp="451 4.7.1",
    detail="try someone else",
)


async def deliver(engine: Engine, headers: HeaderList = ()) -> UUID:
    """Publish one mail, with more headers than it needs, and wait for its first outcome."""
    mail_id = await engine.publish("user@example.com", headers=headers)
    async with engine.running():
        await until(engine.outcomes, "an outcome")
    return mail_id


def openmetrics(registry: CollectorRegistry) -> str:
    return str(generate_latest(registry).decode())  # type: ignore[no-untyped-call] # untyped there


async def test_a_mail_continues_the_trace_that_it_brings() -> None:
    spans = MemorySpans()
    engine = Engine(tracer=Tracer(spans, sample_ratio=0))
    mail_id = await deliver(engine, TRACED)
    waiting, process = spans.ended
    assert (process.title, process.kind) == ("process mails", SpanKind.CONSUMER)
    assert f"{process.trace_number:032x}" == TRACE_ID
    assert (process.parent_id, process.tracestate) == (0x00F067AA0BA902B7, "rojo=1")
    assert (waiting.title, waiting.parent_id) == ("wait for lane", process.span_id)
    assert process.attributes["messaging.message.id"] == str(mail_id)
    assert process.attributes["mailtopic.outcome"] == "accepted"
    assert process.error is None
    assert "example.com" not in repr(spans.ended)


async def test_a_deferred_mail_takes_its_trace_to_the_retry_topic() -> None:
    spans = MemorySpans()
    engine = Engine(tracer=Tracer(spans))
    engine.relay.script(GREYLISTED)
    await deliver(engine, TRACED)
    (retry,) = engine.kafka.stored(NAMES.retries[0])
    assert decode_headers(retry.headers).trace == TraceContext(PARENT, "rojo=1")
    assert spans.named("process mails")[0].error == "deferred"


async def test_a_mail_that_brings_no_trace_begins_one_that_its_next_attempt_continues() -> None:
    spans = MemorySpans()
    engine = Engine(tracer=Tracer(spans))
    engine.relay.script(GREYLISTED)
    mail_id = await deliver(engine)
    (process,) = spans.named("process mails")
    (retry,) = engine.kafka.stored(NAMES.retries[0])
    trace = decode_headers(retry.headers).trace
    assert trace is not None
    assert trace.traceparent == f"00-{mail_id.hex}-{process.span_id:016x}-01"


@pytest.mark.parametrize("value", [b"\xff" * 55, b"x" * 100_000, b"", b"00-0-0-01"])
async def test_a_hostile_trace_costs_the_mail_nothing_and_leads_nowhere(value: bytes) -> None:
    spans = MemorySpans()
    engine = Engine(tracer=Tracer(spans))
    engine.relay.script(GREYLISTED)
    with capture_logs() as lines:
        mail_id = await deliver(engine, [("traceparent", value), ("tracestate", value)])
    assert engine.outcomes() == [Outcome.DEFERRED]
    assert spans.named("process mails")[0].trace_number == mail_id.int
    (retry,) = engine.kafka.stored(NAMES.retries[0])
    assert all(len(value or b"") <= 512 for _name, value in retry.headers)
    assert "x" * 100 not in repr(lines)


async def test_each_outcome_is_one_line_that_support_can_follow() -> None:
    keyring = KeyRing.generate()
    engine = Engine(tracer=Tracer(MemorySpans()), keyring=keyring)
    engine.relay.script(GREYLISTED)
    engine.relay.gate.clear()
    with capture_logs() as lines:
        mail_id = await engine.publish("user@example.com")
        async with engine.running():
            await until(lambda: engine.relay.connections.busy, "it is under way")
            engine.clock.advance(0.5)
            engine.relay.gate.set()
            await until(engine.outcomes, "an outcome")
    (line,) = [line for line in lines if line["event"].startswith("mail.")]
    assert {**line, "queue_ms": 0, "wait_ms": 0} == {
        "event": "mail.deferred",
        "log_level": "info",
        "topic": "mails",
        "id": str(mail_id),
        "attempt": 1,
        "trace_id": mail_id.hex,
        "recipient": keyring.recipient_tag(parse_address("user@example.com")),
        "relay": "first",
        "reply": "greylisted",
        "smtp": "451 4.7.1",
        "phase": "rcpt",
        "tier": "10s",
        "queue_ms": 0,
        "wait_ms": 0,
        "connect_ms": 0.0,
        "transmit_ms": 500.0,
    }


async def test_without_keys_and_tracing_a_line_names_neither_recipient_nor_trace() -> None:
    with capture_logs() as lines:
        await deliver(Engine())
    (line,) = [line for line in lines if line["event"].startswith("mail.")]
    assert not {"recipient", "trace_id"} & line.keys()
    assert "example" not in repr(line)


def test_a_recipients_tag_needs_the_key_and_survives_its_rotation() -> None:
    address = parse_address("user@EXAMPLE.com")
    old, new = b"o" * 32, b"n" * 32
    before = KeyRing(active="k1", keys={"k1": old})
    after = KeyRing(active="k2", keys={"k1": old, "k2": new})
    tag = before.recipient_tag(address)
    assert len(tag) == 12
    assert tag == before.recipient_tag(parse_address("user@example.com"))
    assert tag != after.recipient_tag(address)
    assert {tag, after.recipient_tag(address)} == after.recipient_tags(address)
    assert tag != KeyRing.generate("k1").recipient_tag(address)


async def test_a_delivery_that_is_traced_is_its_buckets_example() -> None:
    engine = Engine(tracer=Tracer(MemorySpans()))
    mail_id = await deliver(engine)
    shown = openmetrics(engine.registry)
    assert f'# {{trace_id="{mail_id.hex}"}}' in shown
    untraced = Engine(tracer=Tracer(MemorySpans(), sample_ratio=0))
    await deliver(untraced)
    assert "trace_id" not in openmetrics(untraced.registry)


async def test_no_span_shows_what_an_unreadable_record_holds() -> None:
    spans = MemorySpans()
    engine = Engine(tracer=Tracer(spans))
    await engine.kafka.publish(NAMES.main, key=b"k", value=b'{"email": "user@example.com"')
    async with engine.running():
        await until(engine.outcomes, "an outcome")
    assert spans.named("process mails")[0].error == "dead"
    assert "user" not in repr(spans.ended)


@pytest.mark.parametrize(
    ("ratio", "headers", "is_sampled"),
    [
        (0.0, [], False),
        (1.0, [], True),
        (0.0, TRACED, True),
        (1.0, [("traceparent", PARENT[:-1].encode() + b"0")], False),
    ],
)
async def test_only_a_mail_whose_trace_is_sampled_needs_a_task(
    ratio: float, headers: HeaderList, *, is_sampled: bool
) -> None:
    spans = MemorySpans()
    engine = Engine(tracer=Tracer(spans, sample_ratio=ratio))
    await engine.publish(headers=headers)
    incoming = engine.delivery.prepare(engine.kafka.stored(NAMES.main)[0])
    is_done = asyncio.Event()
    has_begun = engine.delivery.begin(incoming, Lease(), lambda *_: is_done.set())
    assert has_begun is not is_sampled
    if has_begun:
        await asyncio.wait_for(is_done.wait(), 10)
        assert engine.outcomes() == [Outcome.ACCEPTED]
    else:
        await engine.delivery.handle(incoming, Lease())
    assert bool(spans.ended) is is_sampled
