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
    "frozen_s",
    [
        pytest.param(20, id="20 s", marks=pytest.mark.guarantees),
        pytest.param(40, id="40 s"),
    ],
)
async def test_a_frozen_sender_repeats_no_more_than_it_had_in_flight(
    bench: FaultBench, frozen_s: int, figure: Callable[[str], None]
) -> None:
    bench.settings["MAILTOPIC_DELIVERY__MAX_IN_FLIGHT"] = str(IN_FLIGHT)
    await bench.relay.behave(Behaviour(delay_s={"dot": 0.2}))
    await asyncio.gather(bench.start_ready("sender-0"), bench.start_ready("sender-1"))
    publishing = asyncio.create_task(bench.publish(addresses(3_000)))
    await bench.taken(300)
    owns_all = f'"partitions":{PARTITIONS},'
    before = bench.log().count(owns_all)
    bench.signal("sender-0", signal.SIGSTOP)
    await asyncio.sleep(frozen_s)
    assert bench.log().count(owns_all) > before, "nobody took over"
    bench.signal("sender-0", signal.SIGCONT)
    # Its partitions are gone and its links still stand: it must not go on with either.
    await until(
        lambda: bench.senders["sender-0"].exit_code is not None, "the frozen sender has ended"
    )
    await publishing
    verdict = await bench.settled()
    exit_code = bench.senders["sender-0"].exit_code
    figure(f"3,000 mails, frozen for {frozen_s} s, exit code then {exit_code}: {verdict}")
    assert exit_code == EXIT_WEDGED
    assert not verdict.lost
    assert not verdict.unlike
    assert verdict.second_copies <= IN_FLIGHT
    assert not verdict.decided_twice
    assert verdict.outcomes.keys() == {Outcome.ACCEPTED}
    assert "Traceback" not in bench.log()
