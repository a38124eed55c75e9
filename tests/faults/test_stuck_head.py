"""One mail at the head of its partition is stuck: whoever is behind it goes on."""

import asyncio
import time
from collections.abc import Callable

import pytest

from mailtopic_sender.engine.watermark import (
    MAX_METADATA_BYTES,
    WINDOW,
    Snapshot,
    decode_snapshot,
)
from mailtopic_sender.ports import TopicPartition
from support.conditions import until
from support.fault_bench import FaultBench, addresses
from support.senders import PARTITIONS
from support.smtp_relay import Behaviour, Fault

HEAD = 0
STUCK = "stuck@example.com"
NEVER_ANSWERED = Fault("dot", recipient=STUCK)
WINDOW_FULL = WINDOW - 1_000
"""Intake may pause so far below the window: two polls' worth."""


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("behind", "stuck_s"),
    [
        pytest.param(5_000, 5, id="5000"),
        pytest.param(50_000, 120, id="50000", marks=pytest.mark.guarantees),
    ],
)
async def test_the_stuck_head_of_a_partition_holds_nobody_up(
    bench: FaultBench, behind: int, stuck_s: int, figure: Callable[[str], None]
) -> None:
    await bench.relay.behave(Behaviour(faults=[NEVER_ANSWERED]))
    await bench.start_ready()
    await bench.publish_to(HEAD, [bench.record(STUCK)])
    await until(lambda: bench.relay.faults("dot"), "the head is stuck")
    started_s = time.monotonic()
    await bench.publish_to(HEAD, map(bench.record, addresses(behind, "behind")))
    possible = min(behind, WINDOW_FULL)
    await bench.taken(possible, timeout_s=200)
    rate_per_s = possible / (time.monotonic() - started_s)
    others = await publish_elsewhere(bench, seconds=stuck_s)
    await until(lambda: len(names_of(bench, "other")) == others, "the others were not held up")
    assert len(names_of(bench, "behind")) <= WINDOW

    await until(lambda: all_is_committed(bench), "what is done above the head is committed")
    behind_before = len(names_of(bench, "behind"))
    await bench.senders["sender"].kill()
    await bench.relay.behave(Behaviour())
    await bench.start_ready()
    verdict = await bench.settled(timeout_s=300)
    figure(
        f"{behind} behind the head, {behind_before} of them sent meanwhile"
        f" ({rate_per_s:.0f} mails/s), {others} on other partitions; after a kill: {verdict}"
    )
    assert not verdict.lost
    assert not verdict.second_copies
    assert not verdict.decided_twice
    assert "Traceback" not in bench.log()


async def publish_elsewhere(bench: FaultBench, *, seconds: int) -> int:
    """Publish twenty mails a second to the other partitions; returns how many."""
    for second in range(seconds):
        mails = map(bench.record, addresses(20, f"other{second}-"))
        await bench.publish_to(1 + second % (PARTITIONS - 1), mails)
        await asyncio.sleep(1)
    return seconds * 20


def names_of(bench: FaultBench, name: str) -> set[str]:
    """The recipients of this name whose mail the relay has."""
    return {mail.recipient for mail in bench.relay.read() if mail.recipient.startswith(name)}


async def all_is_committed(bench: FaultBench) -> bool:
    head = await head_progress(bench)
    if head is None:
        return False
    assert head.offset == 0, "the commit passed the stuck head"
    return len(head.completed) == len(names_of(bench, "behind"))


async def head_progress(bench: FaultBench) -> Snapshot | None:
    committed = (await bench.committed()).get(TopicPartition(bench.topic, HEAD))
    if committed is None:
        return None
    assert len(committed.metadata) <= MAX_METADATA_BYTES
    return decode_snapshot(committed)
