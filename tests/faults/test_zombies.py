"""A sender that stands still for 40 s and then goes on where it was."""

import asyncio
import signal
import time
from collections.abc import Callable

import pytest

from mailtopic_runtime import EXIT_WEDGED
from support.conditions import until
from support.fault_bench import FaultBench, addresses
from support.smtp_relay import Behaviour

IN_FLIGHT = 50
FROZEN_S = 40.0


@pytest.mark.timeout(240)
async def test_a_sender_frozen_for_40_s_repeats_no_more_than_it_had_in_flight(
    bench: FaultBench, figure: Callable[[str], None]
) -> None:
    bench.settings["MAILTOPIC_DELIVERY__MAX_IN_FLIGHT"] = str(IN_FLIGHT)
    await bench.relay.behave(Behaviour(delay_s={"dot": 0.2}))
    names = ["sender-0", "sender-1"]
    await asyncio.gather(*map(bench.start_ready, names))
    publishing = asyncio.create_task(bench.publish(addresses(3_000)))
    await bench.taken(300)
    bench.signal("sender-0", signal.SIGSTOP)
    frozen_s = time.monotonic()
    await publishing
    # The others have all of it done before the frozen one comes back.
    await bench.taken(3_000 - IN_FLIGHT, timeout_s=150)
    others_s = time.monotonic() - frozen_s
    await asyncio.sleep(max(FROZEN_S - others_s, 0))
    bench.signal("sender-0", signal.SIGCONT)
    zombie = bench.senders["sender-0"]
    await until(lambda: back_or_gone(bench), "the frozen sender is back, or has ended itself")
    await bench.publish(addresses(500, "later"))
    verdict = await bench.settled()
    figure(
        f"3,500 mails, one of two senders frozen for {FROZEN_S:g} s, the rest done by the other"
        f" after {others_s:.0f} s; its exit code: {zombie.exit_code}; {verdict}"
    )
    assert zombie.exit_code in {None, EXIT_WEDGED}
    assert not verdict.lost
    assert not verdict.unlike
    assert not verdict.decided_twice
    assert verdict.second_copies <= IN_FLIGHT
    assert "Traceback" not in bench.log()


async def back_or_gone(bench: FaultBench) -> bool:
    return bench.senders["sender-0"].exit_code is not None or await bench.is_ready("sender-0")
