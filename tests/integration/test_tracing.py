"""Tracing for real: signup, Kafka, senders and a relay, seen by a collector."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from mailtopic_cli.kafka_node import KafkaNode
from support.conditions import until
from support.otlp import OtlpReceiver, ReceivedSpan
from support.ports import free_port
from support.senders import Bench
from support.signup_process import SignupProcess
from support.smtp_relay import Fault

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-01"
ADDRESS = "traced.person@example.com"
LATER = "451 4.7.1 <traced.person@example.com> Later, code 482913"


@pytest.fixture
def collector() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as receiver:
        yield receiver


@pytest.fixture
async def bench(kafka: KafkaNode, topic: str, tmp_path: Path) -> AsyncIterator[Bench]:
    async with Bench(tmp_path, kafka.bootstrap_servers, topic) as bench:
        bench.settings["MAILTOPIC_DELIVERY__RETRY_TIERS"] = "1s,5s"
        yield bench


def tracing(endpoint: str, *, ratio: float = 0.0) -> dict[str, str]:
    return {
        "MAILTOPIC_TRACING__ENDPOINT": endpoint,
        "MAILTOPIC_TRACING__SAMPLE_RATIO": str(ratio),
        "MAILTOPIC_TRACING__TIMEOUT_S": "1",
    }


@asynccontextmanager
async def signup_of(bench: Bench, settings: dict[str, str]) -> AsyncIterator[SignupProcess]:
    settings = {name.removeprefix("MAILTOPIC_"): value for name, value in settings.items()}
    process = SignupProcess(bench.directory, bench.servers, bench.topic, settings=settings)
    await process.start()
    try:
        yield process
    finally:
        await process.stop()


async def sign_up(signup: SignupProcess, **headers: str) -> None:
    async with httpx.AsyncClient(base_url=signup.url) as client:
        answer = await client.post("/v1/signups", json={"email": ADDRESS}, headers=headers)
    assert answer.status_code == 202


def by_id(spans: list[ReceivedSpan]) -> dict[str, ReceivedSpan]:
    return {span.span_id: span for span in spans}


def way_to(span: ReceivedSpan, spans: dict[str, ReceivedSpan]) -> list[str]:
    """The names from the root down to a span."""
    names = [span.name]
    while span.parent_id in spans:
        span = spans[span.parent_id]
        names.insert(0, span.name)
    return names


async def test_one_trace_leads_from_the_request_over_two_retries_to_the_relays_250(
    bench: Bench, collector: OtlpReceiver
) -> None:
    # Only the caller says that it is to be recorded: all others' share is 0.
    bench.settings |= tracing(collector.endpoint)
    bench.relay.fault(Fault("rcpt", reply=LATER, times=2))
    await bench.start_ready()
    async with signup_of(bench, tracing(collector.endpoint)) as signup:
        bench.relay.drop_links()  # so that the mail needs a session of its own
        await sign_up(signup, traceparent=PARENT)
        await bench.delivered([ADDRESS])
        done = "accepted"
        await until(
            lambda: [s for s in collector.spans if s.attributes.get("mailtopic.outcome") == done],
            "the last span arrives",
        )
    assert {span.trace_id for span in collector.spans} == {TRACE_ID}
    spans, topic = by_id(collector.spans), bench.topic
    sent = collector.named("smtp transaction")
    assert [s.attributes["mailtopic.smtp.reply"] for s in sent] == ["451 4.7.1"] * 2 + ["250 2.0.0"]
    assert [s.is_error for s in sent] == [True, True, False]
    publication = ["POST /v1/signups", f"send {topic}"]
    last = ["smtp attempt", "smtp transaction"]
    assert [way_to(span, spans) for span in sent] == [
        [*publication, f"process {topic}", *last],
        [*publication, f"process {topic}.retry.1s", *last],
        [*publication, f"process {topic}.retry.5s", *last],
    ]
    (request,) = collector.named("POST /v1/signups", "mailtopic-signup")
    assert request.parent_id == PARENT[36:52]
    assert request.start_ns < sent[0].start_ns < sent[2].end_ns
    opened = collector.named("smtp session open")
    assert opened[0].attributes["server.address"] == bench.relay.host
    assert opened[0].attributes["server.port"] == bench.relay.port
    attempts = [s for s in collector.spans if s.name.startswith("process")]
    assert [s.attributes["mailtopic.attempt"] for s in attempts] == [1, 2, 3]
    nothing_personal(collector, bench)


def nothing_personal(collector: OtlpReceiver, bench: Bench) -> None:
    """No span and no log line holds an address or the code in the mail."""
    told = b"".join(collector.raw) + bench.log().encode()
    assert b"traced.person" not in told
    assert b"482913" not in told
    assert b"Later" not in b"".join(collector.raw)
    for mail in bench.relay.mails:
        text = mail.message().get_body(("plain",)).get_content()  # type: ignore[union-attr]
        (code,) = re.findall(r"\b[0-9]{6}\b", text)
        assert not re.search(rb"(?<![0-9a-f.])%b(?![0-9a-f])" % code.encode(), told)


async def test_who_takes_over_from_a_killed_sender_goes_on_in_the_same_trace(
    bench: Bench, collector: OtlpReceiver
) -> None:
    bench.settings |= tracing(collector.endpoint, ratio=1.0)
    silent = bench.relay.fault(Fault("rcpt"))
    await bench.start_ready("first")
    mail_id = await bench.mails.send_code("482913", ADDRESS)
    await until(
        lambda: any("RCPT" in line for _, line in bench.relay.commands), "the relay is asked"
    )
    await bench.senders["first"].kill()
    bench.relay.heal(silent)
    await bench.start_ready("second")
    await bench.delivered([ADDRESS])
    await until(lambda: collector.named(f"process {bench.topic}"), "the spans arrive")
    # The mail brought no trace: its own id is the trace's, whoever works on it.
    assert {span.trace_id for span in collector.spans} == {mail_id.hex}
    nothing_personal(collector, bench)


async def test_a_collector_that_is_away_costs_one_line_and_no_mail(bench: Bench) -> None:
    bench.settings |= tracing(f"http://127.0.0.1:{free_port()}", ratio=1.0)
    sender = await bench.start_ready()
    addresses = [f"person{number}@example.com" for number in range(300)]
    for address in addresses:
        await bench.mails.send_code("482913", address)
    await bench.delivered(addresses)
    await until(lambda: "tracing.unavailable" in bench.log(), "the line")
    began_s = time.monotonic()
    assert await sender.end(grace_s=30) == 0
    assert time.monotonic() - began_s < 15
    assert bench.log().count("tracing.unavailable") == 1
    assert "opentelemetry" not in bench.log().replace("mailtopic_runtime.tracing_otel", "")


async def test_a_collector_that_never_answers_does_not_hold_up_mails_or_the_end(
    bench: Bench, collector: OtlpReceiver
) -> None:
    collector.silent.set()
    bench.settings |= tracing(collector.endpoint, ratio=1.0)
    bench.settings["MAILTOPIC_TRACING__TIMEOUT_S"] = "30"
    bench.settings["MAILTOPIC_TRACING__MAX_QUEUED_SPANS"] = "64"
    sender = await bench.start_ready()
    addresses = [f"person{number}@example.com" for number in range(200)]
    await asyncio.gather(*(bench.mails.send_code("482913", address) for address in addresses))
    await bench.delivered(addresses)
    await until(lambda: collector.headers, "the collector is asked")
    began_s = time.monotonic()
    assert await sender.end(grace_s=30) == 0
    # The group is left in at most 5 s; spans get 2 s on top of it.
    assert time.monotonic() - began_s < 12


async def test_spans_that_wait_leave_when_the_process_stops(
    bench: Bench, collector: OtlpReceiver
) -> None:
    bench.settings |= tracing(collector.endpoint, ratio=1.0)
    sender = await bench.start_ready()
    await bench.mails.send_code("482913", ADDRESS)
    await bench.delivered([ADDRESS])
    assert await sender.end(grace_s=30) == 0
    assert len(collector.named(f"process {bench.topic}")) == 1


async def test_the_collector_comes_back_and_gets_what_happens_then(
    bench: Bench, collector: OtlpReceiver
) -> None:
    collector.status = 503
    bench.settings |= tracing(collector.endpoint, ratio=1.0)
    bench.settings["MAILTOPIC_TRACING__HEADERS"] = "authorization=Bearer word"
    await bench.start_ready()
    await bench.mails.send_code("482913", "first@example.com")
    await until(lambda: "tracing.unavailable" in bench.log(), "the line")
    collector.status = 200
    await bench.mails.send_code("482913", "second@example.com")
    await until(lambda: "tracing.available" in bench.log(), "the line of its return")
    assert collector.headers[0]["authorization"] == "Bearer word"
    assert "Bearer" not in bench.log()


async def test_hostile_headers_of_a_foreign_producer_harm_nobody(
    bench: Bench, collector: OtlpReceiver
) -> None:
    bench.settings |= tracing(collector.endpoint, ratio=1.0)
    await bench.start_ready()
    marks = [b"\xff\x00", b"00-" + b"Z" * 52, b"Q" * 500_000, "００".encode() * 30, b""]
    for number, mark in enumerate(marks):
        await bench.broker.publish(
            bench.topic,
            key=b"%d" % number,
            value=b'{"email":"person%d@example.com","code":"482913"}' % number,
            headers=[("traceparent", mark), ("traceparent", PARENT.encode()), ("tracestate", mark)],
        )
    await bench.delivered([f"person{number}@example.com" for number in range(len(marks))])
    name = f"process {bench.topic}"
    await until(lambda: len(collector.named(name)) == len(marks), "the spans arrive")
    assert TRACE_ID not in {span.trace_id for span in collector.spans}
    assert all(not span.parent_id for span in collector.named(name))
    told = b"".join(collector.raw) + bench.log().encode() + (await bench.probe("metrics")).encode()
    assert b"QQQQ" not in told
    assert b"ZZZZ" not in told


async def test_metrics_show_examples_to_who_understands_openmetrics(
    bench: Bench, collector: OtlpReceiver
) -> None:
    bench.settings |= tracing(collector.endpoint, ratio=1.0)
    await bench.start_ready()
    mail_id = await bench.mails.send_code("482913", ADDRESS)
    await bench.delivered([ADDRESS])
    url = f"http://127.0.0.1:{bench.ports['sender']}/metrics"
    example = f'# {{trace_id="{mail_id.hex}"}}'

    async def shown(accept: str) -> httpx.Response:
        async with httpx.AsyncClient() as client:
            return await client.get(url, headers={"Accept": accept})

    async def is_shown() -> bool:
        return example in (await shown("application/openmetrics-text")).text

    await until(is_shown, "the example")
    answer = await shown("application/openmetrics-text; version=1.0.0,text/plain;q=0.5")
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")
    plain = await shown("text/plain")
    assert plain.headers["Content-Type"].startswith("text/plain")
    assert "trace_id" not in plain.text
