"""Retry topics that take nothing, and clocks that disagree: nothing is lost, nothing is late."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from mailtopic_contract import Outcome
from support.conditions import until
from support.fault_bench import FaultBench, addresses
from support.senders import PARTITIONS
from support.smtp_relay import Behaviour

SKEW_MS = 120_000


async def shrink(bench: FaultBench, tier: str) -> None:
    await bench.create_topic(tier, max_message_bytes="100")


async def delete(bench: FaultBench, tier: str) -> None:
    async with bench.admin() as admin:
        await admin.delete_topics([tier])


async def restore(bench: FaultBench, tier: str) -> None:
    await bench.create_topic(tier)


@pytest.mark.timeout(180)
async def test_a_mail_that_its_retry_topic_does_not_take_holds_up_no_other(
    bench: FaultBench,
) -> None:
    await shrink(bench, f"{bench.topic}.retry.10s")
    await bench.start_ready()
    await bench.relay.behave(Behaviour(greylist_s=3, greylist_share=0.3))
    await bench.publish(addresses(200))
    verdict = await bench.settled(timeout_s=100)
    dead = verdict.outcomes[Outcome.DEAD]
    assert dead > 0, "some were greylisted"
    assert verdict.outcomes == {Outcome.ACCEPTED: 200 - dead, Outcome.DEAD: dead}
    assert len(verdict.lost) == dead, "each lies in the DLQ, to be replayed"
    assert not verdict.second_copies
    assert not verdict.decided_twice
    assert "Traceback" not in bench.log()


@pytest.mark.timeout(180)
async def test_a_retry_topic_that_was_deleted_is_waited_for(bench: FaultBench) -> None:
    await bench.start_ready()
    await delete(bench, f"{bench.topic}.retry.10s")
    others = f'"partitions":{2 * PARTITIONS}'
    await until(lambda: others in bench.log(), "the other tiers are read alone", timeout_s=60)
    await mended_while_mails_wait(bench, restore)


async def mended_while_mails_wait(
    bench: FaultBench, mend: Callable[[FaultBench, str], Awaitable[None]]
) -> None:
    await bench.relay.behave(Behaviour(greylist_s=3, greylist_share=0.3))
    await bench.publish(addresses(200))
    await until(lambda: "publishing.unavailable" in bench.log(), "the sender says so", timeout_s=60)
    await asyncio.sleep(3)  # some tries in vain
    await mend(bench, f"{bench.topic}.retry.10s")
    verdict = await bench.settled(timeout_s=100)
    assert not verdict.lost
    assert not verdict.second_copies
    assert not verdict.decided_twice
    assert bench.log().count("publishing.unavailable") == 1
    assert "Traceback" not in bench.log()


@pytest.mark.timeout(180)
async def test_publishers_clocks_may_be_two_minutes_off(bench: FaultBench) -> None:
    await bench.start_ready()
    for ahead_ms in (-SKEW_MS, 0, SKEW_MS):
        valid = [bench.record(a, ahead_ms=ahead_ms) for a in addresses(50, f"valid{ahead_ms}-")]
        await bench.publish_to(1, valid)
    # By the sender's clock these were over before they came: sent never, recorded once.
    over = [bench.record(a, ahead_ms=-SKEW_MS, ttl_s=60) for a in addresses(50, "over")]
    await bench.publish_to(2, over)
    verdict = await bench.settled()
    assert verdict.outcomes == {Outcome.ACCEPTED: 150, Outcome.EXPIRED: 50}
    assert verdict.lost == {record.email for record in over}
    assert not verdict.second_copies
    assert not verdict.decided_twice


@pytest.mark.timeout(180)
async def test_senders_clocks_may_be_two_minutes_off(bench: FaultBench) -> None:
    await bench.start_ready()
    tier = f"{bench.topic}.retry.10s"
    now_ms = round(time.time() * 1000)
    for ahead_ms in (SKEW_MS, -SKEW_MS):
        # As a sender with such a clock would have deferred them.
        mails = [bench.record(a) for a in addresses(50, f"deferred{ahead_ms}-")]
        await bench.publish_to(1, mails, topic=tier, not_before_ms=now_ms + ahead_ms + 10_000)
    short = [bench.record(a, ttl_s=5) for a in addresses(50, "short")]
    await bench.publish_to(2, short, topic=tier, not_before_ms=now_ms + SKEW_MS)
    # No record waits for longer than its tier: the clock two minutes ahead costs ten seconds.
    verdict = await bench.settled(timeout_s=60)
    assert verdict.outcomes == {Outcome.ACCEPTED: 100, Outcome.EXPIRED: 50}
    assert verdict.lost == {record.email for record in short}
    assert not verdict.second_copies
    assert not verdict.decided_twice
