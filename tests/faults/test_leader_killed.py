"""Three brokers, and the one that leads is killed under load."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from support.fault_bench import FaultBench, addresses
from support.kafka_cluster import KafkaCluster
from support.smtp_relay import Behaviour

MAILS = 3_000


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[KafkaCluster]:
    cluster = KafkaCluster(tmp_path)
    await cluster.start()
    yield cluster
    await cluster.stop()


@pytest.mark.timeout(240)
async def test_a_leader_killed_under_load_loses_nothing(
    cluster: KafkaCluster, topic: str, tmp_path: Path, figure: Callable[[str], None]
) -> None:
    async with FaultBench(tmp_path, cluster.bootstrap_servers, topic) as bench:
        await bench.relay.behave(Behaviour(delay_s={"dot": 0.05}))
        await asyncio.gather(bench.start_ready("sender-0"), bench.start_ready("sender-1"))
        publishing = asyncio.create_task(bench.publish(addresses(MAILS)))
        await bench.taken(MAILS // 4)
        leader = await busiest_leader(bench)
        await cluster.nodes[leader].kill()
        killed_s = time.monotonic()
        await bench.taken(len(bench.relay.read()) + 200)
        again_s = time.monotonic() - killed_s
        await publishing
        verdict = await bench.settled(timeout_s=120)
        log = bench.log()
    figure(f"{MAILS} mails, 3 brokers, leader killed, {again_s:.0f} s to 200 more: {verdict}")
    assert not verdict.lost
    assert not verdict.second_copies
    assert not verdict.decided_twice
    assert "Traceback" not in log


async def busiest_leader(bench: FaultBench) -> int:
    """The broker that leads the most partitions of the main topic."""
    async with bench.admin() as admin:
        (found,) = await admin.describe_topics([bench.topic])
    ((leader, _),) = Counter(p["leader"] for p in found["partitions"]).most_common(1)
    return int(leader)
