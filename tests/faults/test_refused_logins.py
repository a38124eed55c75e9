"""A relay that refuses the login for minutes costs no mail an attempt, and the group no account."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from mailtopic_cli.kafka_node import KafkaNode
from mailtopic_contract import Outcome
from support.fault_bench import FaultBench, addresses
from support.smtp_relay import Behaviour, Fault
from support.smtp_relay_process import PASSWORD

SENDERS = ("a", "b", "c")
REFUSED = Fault("auth", reply="535 5.7.8 authentication credentials invalid")


@pytest.fixture
async def bench(kafka: KafkaNode, topic: str, tmp_path: Path) -> AsyncIterator[FaultBench]:
    servers = kafka.bootstrap_servers
    async with FaultBench(tmp_path, servers, topic, needs_login=True) as bench:
        yield bench


@pytest.mark.timeout(1000)
@pytest.mark.parametrize(
    "refused_s", [20, pytest.param(600, id="600", marks=pytest.mark.guarantees)]
)
async def test_refused_logins_burn_no_attempt_and_are_few(
    bench: FaultBench, refused_s: float, figure: Callable[[str], None]
) -> None:
    mails = 1_000
    for name in SENDERS:
        await bench.start_ready(name)
    await bench.publish(addresses(100, "before"))
    await bench.taken(100)
    await bench.relay.behave(Behaviour(faults=[REFUSED], drops_links=True))
    await bench.publish(addresses(mails))
    await asyncio.sleep(refused_s)
    assert len(bench.relay.read()) == 100
    tries = bench.relay.faults("auth")
    assert tries < 5
    healed_s = time.monotonic()
    await bench.relay.behave(Behaviour())
    # Otherwise they would try again after more than ten minutes.
    bench.relay.password_file.write_text(PASSWORD, "utf-8")
    verdict = await bench.settled(timeout_s=150)
    took_s = time.monotonic() - healed_s
    figure(
        f"{mails} mails, {tries} logins of {len(SENDERS)} senders refused in {refused_s} s,"
        f" all {took_s:.0f} s later: {verdict}"
    )
    events = (await bench.status()).events
    assert {(event.outcome, event.attempt) for event in events} == {(Outcome.ACCEPTED, 1)}
    assert not verdict.lost
    assert not verdict.second_copies
    assert not await bench.records(f"{bench.topic}.dlq")
    assert "Traceback" not in bench.log()
