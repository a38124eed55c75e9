"""A DLQ that takes nothing: mails go on, poison waits in its partition, and all gets there."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from mailtopic_contract import Outcome
from support.conditions import until
from support.fault_bench import FaultBench, addresses, poison
from support.senders import PARTITIONS

READY_SAYS_SO_WITHIN_S = 30
_ONLY_POISON = 1_000
_GOOD = 300
_EVERY = 20
"""One record in so many is poison."""


async def set_limit(bench: FaultBench, name: str, value: str) -> None:
    async with bench.admin() as admin:
        await admin.alter_configs(
            [ConfigResource(ConfigResourceType.TOPIC, f"{bench.topic}.dlq", {name: value})]
        )


async def delete(bench: FaultBench) -> None:
    async with bench.admin() as admin:
        await admin.delete_topics([f"{bench.topic}.dlq"])


async def make(bench: FaultBench) -> None:
    await bench.create_topic(f"{bench.topic}.dlq")


async def shrink(bench: FaultBench) -> None:
    await set_limit(bench, "max.message.bytes", "100")


async def grow(bench: FaultBench) -> None:
    await set_limit(bench, "max.message.bytes", "1200000")


Step = Callable[[FaultBench], Awaitable[None]]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("harm", "mend"),
    [(delete, make), (shrink, grow)],
    ids=["deleted", "tiny"],
)
async def test_poison_waits_in_its_partition_and_mails_go_on(
    bench: FaultBench, harm: Step, mend: Step, figure: Callable[[str], None]
) -> None:
    await bench.start_ready()
    await bench.publish(addresses(30, "before"))
    values = garbage(PARTITIONS)
    await write(bench, values)
    await until(lambda: has_buried(bench, len(values)), "the DLQ takes poison")
    await harm(bench)

    loop = asyncio.get_running_loop()
    begun_s = loop.time()
    # One in twenty in every partition, and then nothing but poison in partition 0.
    some = garbage(_GOOD // _EVERY, start=100)
    only = garbage(_ONLY_POISON, start=200)
    if harm is delete:
        before, values = values, []  # they went with the topic
    else:
        before = []
    values += some + only
    await write(bench, some)
    await bench.publish(addresses(_GOOD, "beside"))
    await until(lambda: names_it(bench), "readiness says so", timeout_s=READY_SAYS_SO_WITHIN_S)
    named_s = loop.time() - begun_s
    await write(bench, only, partition=0)
    begun_s = loop.time()
    await bench.publish_to(0, map(bench.record, addresses(_GOOD, "behind")))
    await bench.publish(addresses(_GOOD, "elsewhere"))
    await bench.taken(30 + 3 * _GOOD, timeout_s=60)
    behind_s = loop.time() - begun_s
    await until(lambda: shows_parked(bench, len(some + only)), "all poison is parked")
    assert (await bench.probe("livez")) == "ok\n"

    if harm is not delete:  # a sender that starts makes a topic that is missing
        assert await bench.senders["sender"].end(grace_s=15) == 0
        bench.start()
        await until(lambda: shows_parked(bench, len(some + only)), "they are parked again")
    begun_s = loop.time()
    await mend(bench)
    await until(
        lambda: has_buried(bench, len(values) + len(before)), "all is buried", timeout_s=120
    )
    await until(bench.is_ready, "it is ready", timeout_s=60)
    mended_s = loop.time() - begun_s
    verdict = await bench.settled()
    ends = await bench.ends()
    await until(lambda: bench.has_committed(ends), "all is committed")
    letters = Counter(record.value for record in await bench.records(f"{bench.topic}.dlq"))
    figure(
        f"{harm.__name__}: named after {named_s:.1f} s; {2 * _GOOD} mails behind and beside"
        f" {_ONLY_POISON} poisonous records after {behind_s:.1f} s; all {len(values)} in the DLQ"
        f" {mended_s:.1f} s after it was mended, {letters.total() - len(values)} twice; {verdict}"
    )
    assert letters.keys() == set(values)
    assert letters.total() <= len(values) + 4 * PARTITIONS
    assert verdict.outcomes[Outcome.ACCEPTED] == len(bench.published)
    assert not verdict.lost
    assert not verdict.second_copies
    assert not verdict.decided_twice
    processes = 1 if harm is delete else 2
    assert bench.log().count("dlq.unavailable") == processes
    assert "Traceback" not in bench.log()


def garbage(count: int, *, start: int = 0) -> list[bytes]:
    """Poison that no version of a sender reads: mails of an unknown one would be held back."""
    found = (poison(number) for number in itertools.count(start))
    return list(itertools.islice((each for each in found if b'"v":99' not in each), count))


async def write(bench: FaultBench, values: list[bytes], *, partition: int | None = None) -> None:
    for number, value in enumerate(values):
        place = number % PARTITIONS if partition is None else partition
        await bench.broker.publish(bench.topic, key=None, value=value, partition=place)


async def has_buried(bench: FaultBench, count: int) -> bool:
    events = (await bench.status()).events
    return len({event.id for event in events if event.outcome is Outcome.DEAD}) >= count


async def names_it(bench: FaultBench) -> bool:
    return f"{bench.topic}.dlq" in await bench.probe("readyz")


async def shows_parked(bench: FaultBench, count: int) -> bool:
    shown = (await bench.probe("metrics")).splitlines()
    return f'mailtopic_parked_records{{consumer="main",topic="{bench.topic}"}} {count}.0' in shown
