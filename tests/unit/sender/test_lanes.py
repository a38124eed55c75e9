"""Lanes: order per key, concurrency over keys, a bound over all."""

import asyncio
from collections import defaultdict

from mailtopic_sender.engine.lanes import Lanes, Slots
from support.conditions import until


class Recorder:
    """Jobs that take a few turns of the loop and write down what they saw."""

    def __init__(self) -> None:
        self.done: dict[str | None, list[int]] = defaultdict(list)
        self.running: set[str | None] = set()
        self.most_running = 0
        self.overlaps = 0

    async def run(self, job: tuple[str | None, int]) -> None:
        key, number = job
        self.overlaps += key is not None and key in self.running
        self.running.add(key)
        self.most_running = max(self.most_running, len(self.running))
        for _ in range(number % 3 + 1):
            await asyncio.sleep(0)
        self.running.discard(key)
        self.done[key].append(number)


def fail(error: BaseException) -> None:
    raise error


async def test_jobs_of_one_key_run_one_at_a_time_in_order() -> None:
    recorder = Recorder()
    lanes = Lanes(recorder.run, slots=Slots(8), crashed=fail)
    for number in range(60):
        lanes.put(f"k{number % 5}", (f"k{number % 5}", number))
    await lanes.idle()
    assert recorder.overlaps == 0
    assert all(numbers == sorted(numbers) for numbers in recorder.done.values())
    assert sum(map(len, recorder.done.values())) == 60
    assert recorder.most_running > 1


async def test_jobs_without_a_key_wait_for_nobody() -> None:
    gate = asyncio.Event()
    started: list[int] = []

    async def run(number: int) -> None:
        started.append(number)
        await gate.wait()

    lanes = Lanes(run, slots=Slots(10), crashed=fail)
    for number in range(5):
        lanes.put(None, number)
    await until(lambda: len(started) == 5, "all have started")
    gate.set()
    await lanes.idle()
    assert started == [0, 1, 2, 3, 4]


async def test_no_more_run_than_there_are_slots_over_all_lanes() -> None:
    recorder, slots = Recorder(), Slots(3)
    one = Lanes(recorder.run, slots=slots, crashed=fail)
    two = Lanes(recorder.run, slots=slots, crashed=fail)
    for number in range(40):
        (one if number % 2 else two).put(f"k{number}", (f"k{number}", number))
    await asyncio.gather(one.idle(), two.idle())
    assert recorder.most_running == 3
    assert slots.running == 0


async def test_a_job_that_raises_is_reported() -> None:
    errors: list[BaseException] = []

    async def run(_job: int) -> None:
        raise MemoryError

    lanes = Lanes(run, slots=Slots(1), crashed=errors.append)
    lanes.put("k", 1)
    await lanes.idle()
    await until(lambda: errors, "the error is reported")
    assert isinstance(errors[0], MemoryError)


async def test_cancelled_lanes_free_their_slots() -> None:
    slots = Slots(1)

    async def run(_job: int) -> None:
        await asyncio.Event().wait()

    lanes = Lanes(run, slots=slots, crashed=fail)
    lanes.put("a", 1)
    lanes.put("b", 2)
    await until(lambda: slots.running, "one runs")
    await lanes.cancel()
    assert slots.running == 0
