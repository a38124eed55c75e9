"""All that a relay and a machine can do wrong at once: minutes at most, and no mail."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from mailtopic_contract import Outcome
from support.conditions import until
from support.fault_bench import FaultBench, addresses, poison
from support.senders import PARTITIONS
from support.smtp_relay import Behaviour, Fault

SENDERS = ("sender-0", "sender-1")
RANDOM_421 = Fault("rcpt", reply="421 4.7.0 Try again later", probability=0.02)
LOST_250 = Fault("dot", drop=True, accept=True, probability=0.002)
GREYLISTED = 0.1
POISON = 0.01
LATER_S = 120
"""How much longer all of it may take."""
RECORDED_S = 2.0
"""What was taken so shortly before a kill may not be recorded yet."""
ON_ITS_WAY_S = 0.5
"""What a killed sender had written is taken within this time after."""


@dataclass(frozen=True)
class Load:
    mails: int
    rate_per_s: float
    greylist_s: float
    kills: int


@pytest.mark.guarantees
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "load",
    [
        pytest.param(Load(1_000, 200, 2, 2), id="1000"),
        pytest.param(Load(20_000, 400, 20, 5), id="20000"),
    ],
)
async def test_all_faults_at_once_lose_nothing(
    bench: FaultBench, load: Load, figure: Callable[[str], None]
) -> None:
    await asyncio.gather(*map(bench.start_ready, SENDERS))
    healthy_s = await seconds_for(bench, addresses(load.mails, "calm"), load.rate_per_s)
    assert await unexplained_copies(bench, []) == 0
    await bench.relay.behave(
        Behaviour(
            faults=[RANDOM_421, LOST_250],
            greylist_s=load.greylist_s,
            greylist_share=GREYLISTED,
        )
    )
    values = [poison(number) for number in range(round(load.mails * POISON))]
    burying = asyncio.create_task(bury(bench, values, over_s=load.mails / load.rate_per_s))
    killing = asyncio.create_task(kill(bench, load))
    faulty_s = await seconds_for(bench, addresses(load.mails, "stormy"), load.rate_per_s)
    await burying
    kills = await killing
    await until(lambda: all_buried(bench, len(values)), "all poison is dead", timeout_s=60)
    verdict = await bench.settled()
    unexplained = await unexplained_copies(bench, kills)
    lost_250s = bench.relay.faults("dot")
    figure(
        f"{load.mails} mails at {load.rate_per_s:g}/s, {len(SENDERS)} senders, {len(kills)} kills:"
        f" {faulty_s:.0f} s, without faults {healthy_s:.0f} s; {lost_250s} lost 250s,"
        f" {bench.relay.faults('rcpt')} of 421; {verdict}"
    )
    assert len(kills) == load.kills
    assert faulty_s <= healthy_s + LATER_S
    assert not verdict.lost
    assert not verdict.unlike
    assert not verdict.decided_twice
    assert verdict.outcomes == {Outcome.ACCEPTED: 2 * load.mails, Outcome.DEAD: len(values)}
    assert unexplained <= lost_250s
    assert "Traceback" not in bench.log()


async def seconds_for(bench: FaultBench, recipients: list[str], rate_per_s: float) -> float:
    """How long it takes from the first publication until every mail has its outcome."""
    began_s = time.monotonic()
    await bench.publish_paced(recipients, rate_per_s=rate_per_s)
    await bench.settled(timeout_s=300)
    return time.monotonic() - began_s


async def bury(bench: FaultBench, values: list[bytes], *, over_s: float) -> None:
    for number, value in enumerate(values):
        await bench.broker.publish(
            bench.topic, key=None, value=value, partition=number % PARTITIONS
        )
        await asyncio.sleep(over_s / len(values))


async def kill(bench: FaultBench, load: Load) -> list[float]:
    """Kill the senders in turn, evenly while mails are published, and start each again at once."""
    kills = []
    for number in range(load.kills):
        await asyncio.sleep(load.mails / load.rate_per_s / (load.kills + 1))
        victim = SENDERS[number % len(SENDERS)]
        kills.append(time.time())
        await bench.senders[victim].kill()
        bench.start(victim)
    return kills


async def unexplained_copies(bench: FaultBench, kills: list[float]) -> int:
    """How many mails were taken once more, although no kill followed a copy of theirs."""
    taken_at: defaultdict[str, list[float]] = defaultdict(list)
    for mail in bench.relay.read():
        taken_at[mail.recipient].append(mail.at)
    return sum(
        len(times) - 1
        for times in taken_at.values()
        if not any(
            -ON_ITS_WAY_S < killed_at - at < RECORDED_S for at in times for killed_at in kills
        )
    )


async def all_buried(bench: FaultBench, count: int) -> bool:
    events = (await bench.status()).events
    return sum(event.outcome is Outcome.DEAD for event in events) >= count
