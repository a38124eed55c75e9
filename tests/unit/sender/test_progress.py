"""Liveness is progress."""

import asyncio
import subprocess
import sys
import time

from mailtopic_runtime import ManualClock
from mailtopic_sender.engine.progress import Progress, ProgressLimits, Workload, stacks

LIMITS = ProgressLimits(stall_s=120, transmission_s=480)


def test_a_loop_that_ticks_is_healthy_and_one_that_stops_is_not() -> None:
    clock = ManualClock()
    progress = Progress(clock, broker_answers=lambda: True)
    assert progress.unhealthy() is None
    progress.beat("event loop")
    clock.advance(9)
    assert progress.unhealthy() is None
    clock.advance(2)
    assert progress.unhealthy() == "the event loop has not moved for 11 s"
    assert progress.wedged() is None
    clock.advance(20)
    assert progress.wedged() is not None


def test_a_poll_that_does_not_return_is_told_by_its_consumer() -> None:
    clock = ManualClock()
    progress = Progress(clock, broker_answers=lambda: True)
    progress.beat("main")
    clock.advance(121)
    assert progress.unhealthy() == "the main consumer has not moved for 121 s"


def test_without_a_broker_a_poll_may_take_its_time() -> None:
    clock, answers = ManualClock(), [False]
    progress = Progress(clock, broker_answers=lambda: answers[0])
    progress.beat("main")
    clock.advance(1000)
    assert progress.wedged() is None
    answers[0] = True
    clock.advance(100)
    assert progress.unhealthy() is None
    clock.advance(100)
    assert progress.wedged() is not None


class Sender:
    """What a watchdog sees of a sender."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.is_waiting = True
        self.is_transmitting = False
        self.done = 0
        self.broker_answers = True
        self.progress = Progress(
            self.clock,
            broker_answers=lambda: self.broker_answers,
            workload=lambda: Workload(self.is_waiting, self.is_transmitting, self.done),
            limits=LIMITS,
        )

    def after(self, seconds: float) -> str | None:
        """What is said after so many seconds, in each of which it was asked."""
        for _ in range(round(seconds)):
            self.clock.advance(1)
            self.progress.wedged()
        assert self.progress.unhealthy() == self.progress.wedged()
        return self.progress.wedged()


def test_mails_that_wait_while_none_is_completed_are_a_stall() -> None:
    sender = Sender()
    assert sender.after(120) is None
    assert sender.after(1) == "there are mails to deliver and none was completed for 121 s"
    sender.done += 1
    assert sender.after(1) is None


def test_whoever_gets_on_slowly_is_no_stall() -> None:
    sender = Sender()
    for _ in range(5):
        sender.done += 1
        assert sender.after(119) is None


def test_without_work_that_can_be_done_there_is_no_stall() -> None:
    # Standby, all relays away, or everything waits in a retry topic.
    sender = Sender()
    sender.is_waiting = False
    assert sender.after(1000) is None
    sender.is_waiting = True
    assert sender.after(120) is None
    assert sender.after(1) is not None


def test_without_a_broker_there_is_no_stall() -> None:
    sender = Sender()
    sender.broker_answers = False
    assert sender.after(1000) is None
    sender.broker_answers = True
    assert sender.after(120) is None
    assert sender.after(1) is not None


def test_a_relay_may_take_as_long_over_a_mail_as_smtp_allows() -> None:
    sender = Sender()
    sender.is_transmitting = True
    assert sender.after(600) is None
    assert sender.after(1) is not None


def test_a_stack_dump_shows_places_and_no_values() -> None:
    secret = "123456"
    dump = stacks()
    assert "test_a_stack_dump_shows_places_and_no_values" in dump
    assert secret not in dump


WEDGED = """
import asyncio, time
from mailtopic_runtime import SystemClock
from mailtopic_sender.engine.progress import Progress, ProgressLimits, Watchdog

async def main():
    limits = ProgressLimits(loop_wedged_s=0.2)
    progress = Progress(SystemClock(), broker_answers=lambda: True, limits=limits)
    Watchdog(progress, interval_s=0.05).start()
    ticking = asyncio.create_task(progress.tick())
    await asyncio.sleep(0)
    code = "123456"
    time.sleep(60)

asyncio.run(main())
"""


STALLED = """
import asyncio
from mailtopic_runtime import SystemClock
from mailtopic_sender.engine.progress import Progress, ProgressLimits, Watchdog, Workload

async def main():
    load = Workload(is_waiting=True, is_transmitting=False, done=7)
    limits = ProgressLimits(stall_s=0.2)
    progress = Progress(
        SystemClock(), broker_answers=lambda: True, workload=lambda: load, limits=limits
    )
    Watchdog(progress, interval_s=0.05).start()
    await progress.tick()

asyncio.run(main())
"""


def test_a_process_that_completes_nothing_ends_itself_although_its_loop_runs() -> None:
    ended = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", STALLED], capture_output=True, text=True, timeout=50, check=False
    )
    assert ended.returncode == 70
    assert "none was completed" in ended.stderr


def test_a_wedged_process_ends_itself_and_says_where_it_stood() -> None:
    ended = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", WEDGED], capture_output=True, text=True, timeout=50, check=False
    )
    assert ended.returncode == 70
    assert "the event loop has not moved" in ended.stderr
    assert "__main__.main" in ended.stderr
    assert "123456" not in ended.stderr


async def test_a_process_that_stood_still_ends_before_any_task_goes_on() -> None:
    clock, order = ManualClock(), list[str]()
    progress = Progress(
        clock,
        broker_answers=lambda: True,
        limits=ProgressLimits(standstill_s=12),
        end=order.append,
    )
    ticking = asyncio.create_task(progress.tick())
    await asyncio.sleep(0)
    reply = asyncio.get_running_loop().create_future()

    async def delivery() -> None:
        await reply
        order.append("sent")

    sending = asyncio.create_task(delivery())
    await asyncio.sleep(0)
    # The whole loop is held up, longer than a beat is due; then a reply comes with the same turn.
    time.sleep(0.6)  # noqa: ASYNC251 - standing still is the matter
    clock.advance(13)
    asyncio.get_running_loop().call_soon(reply.set_result, None)
    await sending
    ticking.cancel()
    assert order == ["the process stood still for 13 s, others have its mails", "sent"]
