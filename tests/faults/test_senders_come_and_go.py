"""Senders that come and go in good order under load: nothing lost and nothing twice."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from itertools import count

import pytest

from support.fault_bench import FaultBench, addresses
from support.smtp_relay import Behaviour

GRACE_S = 40
SIZES = [
    pytest.param(5_000, 150, id="5000"),
    pytest.param(100_000, 1500, id="100000", marks=pytest.mark.guarantees),
]


@pytest.mark.timeout(1600)
@pytest.mark.parametrize(("mails", "within_s"), SIZES)
async def test_rolling_restarts_send_nothing_twice(
    bench: FaultBench, mails: int, within_s: float, figure: Callable[[str], None]
) -> None:
    names = ["sender-0", "sender-1", "sender-2"]
    await asyncio.gather(*map(bench.start_ready, names))
    restarts = count()

    async def restart_one() -> None:
        name = names[next(restarts) % len(names)]
        assert await bench.senders[name].end(grace_s=GRACE_S) == 0
        await bench.start_ready(name)

    seconds = await repeat_under_load(bench, restart_one, mails, within_s=within_s)
    await nothing_lost_nothing_twice(bench)
    figure(f"{mails} mails, {next(restarts)} restarts, {seconds:.0f} s: {await bench.verdict()}")


@pytest.mark.timeout(1600)
@pytest.mark.parametrize(("mails", "within_s"), SIZES)
async def test_one_sender_four_and_one_again_send_nothing_twice(
    bench: FaultBench, mails: int, within_s: float, figure: Callable[[str], None]
) -> None:
    others = ["sender-1", "sender-2", "sender-3"]
    await bench.start_ready("sender-0")
    rounds = count()

    async def grow_and_shrink() -> None:
        await asyncio.gather(*map(bench.start_ready, others))
        await asyncio.sleep(5)
        codes = await asyncio.gather(*(bench.senders[n].end(grace_s=GRACE_S) for n in others))
        assert codes == [0, 0, 0]
        await asyncio.sleep(5)
        next(rounds)

    seconds = await repeat_under_load(bench, grow_and_shrink, mails, within_s=within_s)
    await nothing_lost_nothing_twice(bench)
    figure(f"{mails} mails, {next(rounds)} rounds, {seconds:.0f} s: {await bench.verdict()}")


async def repeat_under_load(
    bench: FaultBench, disturb: Callable[[], Awaitable[None]], mails: int, *, within_s: float
) -> float:
    """Disturb again and again until all mails have a final outcome; returns the seconds."""
    # Slow enough for the smaller run to be disturbed several times.
    await bench.relay.behave(Behaviour(delay_s={"dot": 0.1}))
    started_s = time.monotonic()
    publishing = asyncio.create_task(bench.publish(addresses(mails)))
    await bench.taken(100)
    while not (publishing.done() and await bench.is_settled()):
        assert time.monotonic() < started_s + within_s, str(await bench.verdict())
        await disturb()
    await publishing
    return time.monotonic() - started_s


async def nothing_lost_nothing_twice(bench: FaultBench) -> None:
    verdict = await bench.settled()
    assert not verdict.lost
    assert not verdict.second_copies
    assert not verdict.decided_twice
    assert "Traceback" not in bench.log()
