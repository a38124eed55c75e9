"""A sender that stands still for longer than its session, and then goes on where it was."""

import asyncio
import signal
from collections.abc import Callable

import pytest

from mailtopic_contract import Outcome
from mailtopic_runtime import EXIT_WEDGED
from support.conditions import until
from support.fault_bench import FaultBench, addresses
from support.senders import PARTITIONS
from support.smtp_relay import Behaviour

IN_FLIGHT = 50


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("frozen_s", "exit_codes"),
    [
        # Its partitions are gone, its links still stand: what it completes now is fenced.
        pytest.param(20, {None}, id="20 s", marks=pytest.mark.guarantees),
        # Longer than the watchdog believes in it.
        pytest.param(40, {None, EXIT_WEDGED}, id="40 s"),
    ],
)
async def test_a_frozen_sender_repeats_no_more_than_it_had_in_flight(
    bench: FaultBench, frozen_s: int, exit_codes: set[int | None], figure: Callable[[str], None]
) -> None:
    bench.settings["MAILTOPIC_DELIVERY__MAX_IN_FLIGHT"] = str(IN_FLIGHT)
    await bench.relay.behave(Behaviour(delay_s={"dot": 0.2}))
    await asyncio.gather(bench.start_ready("sender-0"), bench.start_ready("sender-1"))
    publishing = asyncio.create_task(bench.publish(addresses(3_000)))
    await bench.taken(300)
    owns_all = f'"partitions": {PARTITIONS},'
    before = bench.log().count(owns_all)
    bench.signal("sender-0", signal.SIGSTOP)
    await asyncio.sleep(frozen_s)
    assert bench.log().count(owns_all) > before, "nobody took over"
    bench.signal("sender-0", signal.SIGCONT)
    await until(lambda: back_or_gone(bench), "the frozen sender is back, or has ended itself")
    await publishing
    verdict = await bench.settled()
    exit_code = bench.senders["sender-0"].exit_code
    figure(f"3,000 mails, frozen for {frozen_s} s, exit code then {exit_code}: {verdict}")
    assert exit_code in exit_codes
    assert not verdict.lost
    assert not verdict.unlike
    assert verdict.second_copies <= IN_FLIGHT
    # It can't know that others sent its mails meanwhile, and records what its relay answered.
    assert len(verdict.decided_twice) <= verdict.second_copies
    assert verdict.outcomes.keys() == {Outcome.ACCEPTED}
    assert "Traceback" not in bench.log()


async def back_or_gone(bench: FaultBench) -> bool:
    return bench.senders["sender-0"].exit_code is not None or await bench.is_ready("sender-0")
