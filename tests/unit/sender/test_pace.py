"""Who waits for a turn goes in order, and can be called off at any time."""

import asyncio

import pytest

from mailtopic_runtime import ManualClock, SystemClock
from mailtopic_sender.adapters.smtp_pace import Pace
from mailtopic_sender.mail_ports import ALWAYS, Withdrawn
from support.conditions import until


class Permit:
    """A permit that a test ends."""

    def __init__(self) -> None:
        self._ended = asyncio.Event()

    @property
    def holds(self) -> bool:
        return not self._ended.is_set()

    async def ended(self) -> None:
        await self._ended.wait()

    def end(self) -> None:
        self._ended.set()


async def used(pace: Pace, permit: Permit | None = None, *, timeout_s: float = 60) -> bool:
    """Whether there was a turn; it was used if so."""
    turn = await pace.turn(permit or ALWAYS, timeout_s=timeout_s)
    if turn is not None:
        turn.use()
        turn.end()
    return turn is not None


def turn(pace: Pace, permit: Permit | None = None) -> asyncio.Task[bool]:
    return asyncio.create_task(used(pace, permit))


async def settle() -> None:
    """Let every task that can go on do so."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_without_a_rate_nobody_waits() -> None:
    pace = Pace(None, clock=ManualClock())
    assert pace.wait_s == 0
    assert all([await used(pace, timeout_s=0) for _ in range(1000)])


async def test_turns_come_in_the_order_of_asking_and_at_the_rate() -> None:
    clock = ManualClock()
    pace = Pace(2.0, clock=clock)
    order: list[int] = []

    async def one(number: int) -> None:
        assert await used(pace)
        order.append(number)

    tasks = [asyncio.create_task(one(number)) for number in range(4)]
    await settle()
    for gone in (1, 2, 3):
        assert order == list(range(gone))
        assert pace.wait_s == pytest.approx((4 - gone + 1) / 2)
        clock.advance(0.5)
        pace.set_share(1.0)
        await settle()
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2, 3]


async def test_turns_come_without_anybody_calling() -> None:
    pace = Pace(200.0, clock=SystemClock())
    started_s = SystemClock().monotonic_s()
    assert all(await asyncio.gather(*(turn(pace) for _ in range(100))))
    # 100 tokens: one at the start, 40 more that may have been saved, the rest at the rate.
    assert SystemClock().monotonic_s() - started_s >= (100 - 41) / 200


async def test_a_brake_holds_everyone_for_its_time() -> None:
    clock = ManualClock()
    pace = Pace(None, clock=clock)
    pace.brake(10)
    pace.brake(3)
    waiting = turn(pace)
    clock.advance(9)
    pace.brake(0)
    await settle()
    assert not waiting.done()
    assert pace.wait_s == 1
    clock.advance(1)
    pace.brake(0)
    assert await waiting
    assert await used(pace, timeout_s=0)


async def test_who_is_called_off_takes_no_turn() -> None:
    clock = ManualClock()
    pace = Pace(1.0, clock=clock)
    assert await used(pace, timeout_s=0)
    permit = Permit()
    called_off, cancelled, patient = turn(pace, permit), turn(pace), turn(pace)
    await settle()
    permit.end()
    cancelled.cancel()
    with pytest.raises(Withdrawn):
        await called_off
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    clock.advance(1)
    pace.set_share(1.0)
    assert await patient


async def test_a_turn_that_comes_together_with_the_end_of_the_permit_goes_to_the_next() -> None:
    clock = ManualClock()
    pace = Pace(1.0, clock=clock)
    assert await used(pace, timeout_s=0)
    permit = Permit()
    called_off, patient = turn(pace, permit), turn(pace)
    await settle()
    clock.advance(1)
    pace.set_share(1.0)
    permit.end()
    with pytest.raises(Withdrawn):
        await called_off
    assert await patient


async def test_a_cancelled_turn_goes_to_the_next() -> None:
    clock = ManualClock()
    pace = Pace(1.0, clock=clock)
    assert await used(pace, timeout_s=0)
    cancelled, patient = turn(pace), turn(pace)
    await settle()
    clock.advance(1)
    pace.set_share(1.0)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert await patient


async def test_a_mail_that_waits_for_too_long_is_given_back() -> None:
    pace = Pace(1.0, clock=ManualClock())
    pace.set_share(0)
    with pytest.raises(Withdrawn):
        await used(pace, timeout_s=0.001)


async def test_an_interruption_is_heard_by_everyone_who_waits() -> None:
    pace = Pace(1.0, clock=ManualClock())
    pace.set_share(0)
    waiting = [turn(pace) for _ in range(5)]
    await settle()
    pace.interrupt()
    assert await asyncio.gather(*waiting) == [False] * 5


async def test_who_waited_without_a_share_goes_when_there_is_one() -> None:
    pace = Pace(100.0, clock=SystemClock())
    pace.set_share(0)
    waiting = turn(pace)
    await settle()
    assert not waiting.done()
    pace.set_share(0.5)
    await until(waiting.done, "the turn")
    assert await waiting


async def test_a_turn_that_is_not_used_is_the_next_ones() -> None:
    pace = Pace(0.1, clock=ManualClock())
    unused = await pace.turn(ALWAYS, timeout_s=0)
    assert unused is not None
    waiting = turn(pace)
    await settle()
    assert not waiting.done()
    unused.end()
    assert await waiting


async def test_mails_on_their_way_to_a_connection_hold_the_others_back() -> None:
    clock = ManualClock()
    pace = Pace(0.1, clock=clock)
    under_way = await pace.turn(ALWAYS, timeout_s=0)
    assert under_way is not None
    clock.advance(3600)
    waiting = turn(pace)
    await settle()
    assert not waiting.done()
    under_way.use()
    clock.advance(10)
    pace.set_share(1.0)
    assert await waiting
