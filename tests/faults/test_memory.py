"""What waits in Kafka costs a sender no memory."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from support.conditions import until
from support.fault_bench import FaultBench, addresses
from support.senders import PARTITIONS

WATCHED = 8_000
"""Mails that are delivered while memory is watched."""

CHUNK = 20_000
FLAT_MB = 20.0


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "backlog", [50_000, pytest.param(1_000_000, id="1000000", marks=pytest.mark.guarantees)]
)
async def test_memory_stays_flat_however_long_the_backlog(
    bench: FaultBench, backlog: int, figure: Callable[[str], None]
) -> None:
    await bench.start_ready()
    await bench.senders["sender"].end(grace_s=40)
    small_mb = await peak_behind(bench, 10_000)
    large_mb = await peak_behind(bench, backlog)
    figure(
        f"peak memory of a sender behind 10,000 records: {small_mb:.0f} MB,"
        f" behind {backlog:,}: {large_mb:.0f} MB"
    )
    assert large_mb - small_mb <= FLAT_MB


async def peak_behind(bench: FaultBench, backlog: int) -> float:
    """The most memory that a sender took for its first mails from a backlog, MB."""
    before = len(bench.relay.read())
    for start in range(0, backlog, CHUNK):
        chunk = addresses(min(CHUNK, backlog - start), f"of{backlog}n{start}x")
        for partition in range(PARTITIONS):
            records = (bench.record(address) for address in chunk[partition::PARTITIONS])
            await bench.publish_to(partition, records)
    sender = await bench.start_ready()
    await until(
        lambda: len(bench.relay.read()) >= before + WATCHED, "mails are delivered", timeout_s=600
    )
    peak_mb = peak_memory_mb(sender.pid)
    await sender.end(grace_s=40)
    return peak_mb


def peak_memory_mb(pid: int) -> float:
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert peak is not None
    return int(peak[1]) / 1024
