"""A relay that refuses the login for minutes costs no mail an attempt."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from mailtopic_cli.kafka_node import KafkaNode
from mailtopic_contract import Outcome
from support.fault_bench import FaultBench, addresses
from support.smtp_relay import Behaviour, Fault

REFUSED = Fault("auth", reply="535 5.7.8 authentication credentials invalid")


@pytest.fixture
async def bench(kafka: KafkaNode, topic: str, tmp_path: Path) -> AsyncIterator[FaultBench]:
    servers = kafka.bootstrap_servers
    async with FaultBench(tmp_path, servers, topic, needs_login=True) as bench:
        yield bench


@pytest.mark.timeout(420)
@pytest.mark.parametrize(
    "refused_s", [20, pytest.param(180, id="180", marks=pytest.mark.guarantees)]
)
async def test_refused_logins_burn_no_attempt(
    bench: FaultBench, refused_s: float, figure: Callable[[str], None]
) -> None:
    mails = 1_000
    await bench.start_ready()
    await bench.publish(addresses(100, "before"))
    await bench.taken(100)
    await bench.relay.behave(Behaviour(faults=[REFUSED], drops_links=True))
    await bench.publish(addresses(mails))
    await asyncio.sleep(refused_s)
    assert len(bench.relay.read()) == 100
    healed_s = time.monotonic()
    await bench.relay.behave(Behaviour())
    verdict = await bench.settled(timeout_s=150)
    took_s = time.monotonic() - healed_s
    figure(f"{mails} mails, refused for {refused_s} s, all {took_s:.0f} s later: {verdict}")
    events = (await bench.status()).events
    assert {(event.outcome, event.attempt) for event in events} == {(Outcome.ACCEPTED, 1)}
    assert not verdict.lost
    assert not verdict.second_copies
    assert not await bench.records(f"{bench.topic}.dlq")
    assert "Traceback" not in bench.log()
