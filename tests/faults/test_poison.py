"""Records that nobody can make a mail of: all in the DLQ byte for byte, and nobody waits."""

from collections import Counter
from collections.abc import Callable

import pytest

from mailtopic_contract import Outcome
from support.conditions import until
from support.fault_bench import FaultBench, addresses, poison
from support.senders import PARTITIONS


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "mails", [3_000, pytest.param(30_000, id="30000", marks=pytest.mark.guarantees)]
)
async def test_poison_ends_in_the_dlq_and_holds_nobody_up(
    bench: FaultBench, mails: int, figure: Callable[[str], None]
) -> None:
    await bench.start_ready()
    without = await rate_of_a_backlog(bench, addresses(mails), [])
    values = [poison(number) for number in range(mails // 9)]
    with_poison = await rate_of_a_backlog(bench, addresses(mails, "beside"), values)
    await until(lambda: all_buried(bench, len(values)), "all poison is dead", timeout_s=60)
    verdict = await bench.settled()
    buried = [record.value for record in await bench.records(f"{bench.topic}.dlq")]
    figure(
        f"{mails} mails beside {len(values)} poisonous records: {with_poison:.0f} mails/s,"
        f" without {without:.0f} mails/s; {len(buried)} in the DLQ; {verdict}"
    )
    assert Counter(buried) == Counter(values)
    assert verdict.outcomes == {Outcome.ACCEPTED: 2 * mails, Outcome.DEAD: len(values)}
    assert not verdict.lost
    assert not verdict.second_copies
    assert not verdict.decided_twice
    assert "Traceback" not in bench.log()


async def rate_of_a_backlog(bench: FaultBench, recipients: list[str], values: list[bytes]) -> float:
    """How many mails a second leave a backlog of mails with values strewn in between."""
    await bench.senders["sender"].end(grace_s=40)
    before, mails_each = len(bench.relay.read()), 9
    waiting = iter(values)
    for start in range(0, len(recipients), mails_each * 50):
        await bench.publish(recipients[start : start + mails_each * 50])
        for number, value in zip(range(50), waiting, strict=False):
            await bench.broker.publish(
                bench.topic, key=None, value=value, partition=number % PARTITIONS
            )
    bench.start()
    await bench.taken(before + len(recipients), timeout_s=400)
    times = [mail.at for mail in bench.relay.taken[before:]]
    return len(times) / (max(times) - min(times))


async def all_buried(bench: FaultBench, count: int) -> bool:
    events = (await bench.status()).events
    return sum(event.outcome is Outcome.DEAD for event in events) >= count
