"""A sender without the key that the backlog is sealed with; then one that has it."""

from collections.abc import Callable

import pytest

from mailtopic_contract import Outcome
from support.conditions import until
from support.fault_bench import FaultBench, addresses


@pytest.mark.timeout(300)
async def test_a_missing_key_costs_a_hundred_mails_of_a_thousand(
    bench: FaultBench, figure: Callable[[str], None]
) -> None:
    bench.settings["MAILTOPIC_SEALING__KEYS_FILE"] = ""
    # Burials come 5, 15 and 35 s after the flood began: the watchdog must bear such pauses.
    bench.settings["MAILTOPIC_WATCHDOG__STALL_TIMEOUT_S"] = "10"
    await bench.start_ready()
    await bench.publish(addresses(1_000))

    async def buried() -> int:
        events = (await bench.status()).events
        return sum(event.outcome is Outcome.DEAD for event in events)

    async def third_came() -> bool:
        return await buried() >= 102

    await until(third_came, "the third burial of a flood", timeout_s=90)
    assert bench.log().count("dlq.flooded") == 1
    await bench.senders["sender"].end(grace_s=40)
    dead = await buried()

    del bench.settings["MAILTOPIC_SEALING__KEYS_FILE"]
    bench.start()
    verdict = await bench.settled()
    accepted = verdict.outcomes[Outcome.ACCEPTED]
    figure(f"1000 mails sealed with a missing key: {dead} dead; the key is there: {accepted} sent")
    assert dead < 110
    assert verdict.outcomes == {Outcome.ACCEPTED: 1_000 - dead, Outcome.DEAD: dead}
    assert len(await bench.records(f"{bench.topic}.dlq")) == dead
    assert not verdict.second_copies
    assert not verdict.decided_twice
    assert "ends itself" not in bench.log()
