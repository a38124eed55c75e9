"""A sender that dies while a mail is on the wire: that mail at most twice, byte for byte."""

import pytest

from support.conditions import until
from support.fault_bench import FaultBench, addresses
from support.smtp_relay import Behaviour, Fault

UNLUCKY = "unlucky@example.com"


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("fault", "copies"),
    [
        pytest.param(Fault("body", recipient=UNLUCKY, times=1), 1, id="in the body"),
        pytest.param(Fault("dot", recipient=UNLUCKY, accept=True, times=1), 2, id="after the dot"),
    ],
)
async def test_a_sender_killed_mid_data_repeats_that_mail_only(
    bench: FaultBench, fault: Fault, copies: int
) -> None:
    await bench.relay.behave(Behaviour(faults=[fault]))
    await bench.start_ready()
    await bench.publish([*addresses(50), UNLUCKY, *addresses(50, "later")])
    await bench.taken(100 if fault.accept is False else 101)
    await until(lambda: bench.relay.faults(fault.phase), "the relay is silent")
    await until(lambda: decided(bench, 100), "all others have an outcome")
    await bench.senders["sender"].kill()
    await bench.start_ready()
    verdict = await bench.settled()
    assert not verdict.lost
    assert not verdict.unlike
    assert not verdict.decided_twice
    taken = [mail.recipient for mail in bench.relay.taken]
    assert taken.count(UNLUCKY) == copies
    assert len(taken) == 100 + copies


async def decided(bench: FaultBench, count: int) -> bool:
    return len((await bench.status()).decided) == count
