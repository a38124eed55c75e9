"""Senders that die under load: nothing lost, and second copies of what was in flight at most."""

import asyncio
import time
from collections.abc import Callable

import pytest

from support.fault_bench import FaultBench, addresses

IN_FLIGHT = 50
"""What one sender may have in flight: so much a kill may repeat, and no more."""
KILL_EVERY_S = 5.0


@pytest.mark.timeout(1900)
@pytest.mark.parametrize(
    ("mails", "senders", "within_s"),
    [
        pytest.param(6_000, 3, 160, id="6000"),
        pytest.param(100_000, 4, 1800, id="100000", marks=pytest.mark.guarantees),
    ],
)
async def test_kills_lose_nothing(
    bench: FaultBench, mails: int, senders: int, within_s: float, figure: Callable[[str], None]
) -> None:
    bench.settings["MAILTOPIC_DELIVERY__MAX_IN_FLIGHT"] = str(IN_FLIGHT)
    names = [f"sender-{number}" for number in range(senders)]
    await asyncio.gather(*map(bench.start_ready, names))
    started_s = time.monotonic()
    publishing = asyncio.create_task(bench.publish(addresses(mails)))
    await bench.taken(100)
    kills = 0
    until_s = started_s + within_s
    while not (publishing.done() and await bench.is_settled()):
        victim = names[kills % senders]
        await bench.senders[victim].kill()
        kills += 1
        bench.start(victim)
        assert time.monotonic() < until_s, str(await bench.verdict())
        await asyncio.sleep(KILL_EVERY_S)
    await publishing
    verdict = await bench.settled()
    took_s = time.monotonic() - started_s
    figure(f"{mails} mails, {senders} senders, {kills} kills, {took_s:.0f} s: {verdict}")
    assert not verdict.lost
    assert not verdict.unlike
    assert not verdict.decided_twice
    assert verdict.second_copies <= kills * IN_FLIGHT
    assert "Traceback" not in bench.log()
