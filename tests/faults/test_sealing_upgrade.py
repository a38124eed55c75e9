"""From sealing version 1 to 2 and back, while mails are published: senders first, each way."""

import asyncio
from collections.abc import Callable

import pytest

from mailtopic_contract import Outcome, SealVersion
from support.fault_bench import FaultBench, addresses

MAILS = 1_500
RATE_PER_S = 100


async def restart(bench: FaultBench) -> None:
    """Replace one sender after the other, as a rolling update does."""
    for name in ("one", "two"):
        await bench.senders[name].end(grace_s=40)
        await bench.start_ready(name)


@pytest.mark.guarantees
@pytest.mark.timeout(600)
async def test_an_upgrade_of_the_sealing_and_its_way_back_lose_nothing_under_load(
    bench: FaultBench, figure: Callable[[str], None]
) -> None:
    for name in ("one", "two"):
        await bench.start_ready(name)
    phases: list[tuple[SealVersion, str]] = [(1, "true"), (2, "true"), (2, "false"), (1, "true")]
    for number, (version, accepts_version_1) in enumerate(phases):
        if bench.settings.get("MAILTOPIC_SEALING__ACCEPT_VERSION1", "true") != accepts_version_1:
            await bench.settled()  # what was published before is through
            bench.settings["MAILTOPIC_SEALING__ACCEPT_VERSION1"] = accepts_version_1
            if accepts_version_1 == "true":
                await restart(bench)  # back: the senders first
        bench.sealing_version = version
        mails = addresses(MAILS, f"phase{number}-")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(bench.publish_paced(mails, rate_per_s=RATE_PER_S))
            tasks.create_task(restart(bench))

    verdict = await bench.settled()
    total = MAILS * len(phases)
    dead = len(await bench.records(f"{bench.topic}.dlq"))
    figure(f"{total} mails in versions 1, 2, 2, 1 under restarts: {dict(verdict.outcomes)}")
    assert verdict.outcomes == {Outcome.ACCEPTED: total}
    assert dead == 0
    assert not verdict.decided_twice
