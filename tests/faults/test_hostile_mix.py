"""Everything at once: hostile records in every topic, partitions added, senders killed."""

import asyncio
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from mailtopic_contract import TopicNames
from support.fault_bench import FaultBench, addresses
from support.hostile_batches import hostile
from support.kafka_listeners import Topics
from support.raw_producer import produce_raw
from support.senders import PARTITIONS

MAILS_PER_S = 10
HOSTILE_PER_S = 4
KILL_EVERY_S = 10.0
IN_FLIGHT = 50
"""What one sender may have in flight: so much a kill may repeat, and no more."""
GROWN = PARTITIONS + 3


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seconds", [30, pytest.param(600, marks=pytest.mark.guarantees)])
async def test_a_mix_of_all_of_it_loses_nothing(
    bench: FaultBench, seconds: int, figure: Callable[[str], None]
) -> None:
    bench.settings["MAILTOPIC_DELIVERY__MAX_IN_FLIGHT"] = str(IN_FLIGHT)
    bench.is_hostile, bench.partitions = True, GROWN
    names = ["sender-0", "sender-1"]
    await asyncio.gather(*map(bench.start_ready, names))
    stranger, kills, has_grown = Stranger(bench), 0, False
    laying = asyncio.create_task(stranger.lay())
    publishing = asyncio.create_task(
        bench.publish_paced(addresses(seconds * MAILS_PER_S), rate_per_s=MAILS_PER_S)
    )
    began_s = time.monotonic()
    while not publishing.done():
        await asyncio.wait({publishing, laying}, timeout=KILL_EVERY_S)
        assert not laying.done(), laying.exception()
        victim = names[kills % len(names)]
        await bench.senders[victim].kill()
        kills += 1
        bench.start(victim)
        if not has_grown and time.monotonic() - began_s > seconds / 3:
            await Topics(bench.servers).grow(bench.topic, partitions=GROWN)
            has_grown = True
    await publishing
    laying.cancel()
    verdict = await bench.settled(timeout_s=300)
    figure(
        f"{seconds} s, {seconds * MAILS_PER_S} mails beside {stranger.laid} hostile batches,"
        f" {kills} kills: {verdict}"
    )
    assert not verdict.lost
    assert not verdict.unlike
    assert not verdict.decided_twice & bench.published.keys()
    assert verdict.second_copies <= kills * IN_FLIGHT
    assert stranger.laid > seconds
    assert "Traceback" not in bench.log()


@dataclass
class Stranger:
    """Writes hostile batches into every topic, one after the other, until cancelled."""

    bench: FaultBench
    laid: int = 0

    async def lay(self) -> None:
        names = TopicNames(self.bench.topic)
        topics = (names.main, names.main, names.retries[0], names.status, names.dlq)
        batches = [*hostile().values()]
        # Steps without a common divisor: each batch gets into each topic and partition in time.
        for number in itertools.count():
            data, topic = batches[number % len(batches)], topics[number % len(topics)]
            error, _ = await produce_raw(self.bench.servers, topic, number * 5 % PARTITIONS, data)
            self.laid += not error
            await asyncio.sleep(1 / HOSTILE_PER_S)
