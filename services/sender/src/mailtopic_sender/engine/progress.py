"""Detects whether the process makes progress, and ends it if it doesn't."""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from mailtopic_runtime import EXIT_WEDGED, Clock, flush_logs

_TICK_S = 0.5
_LOOP = "event loop"


@dataclass(frozen=True, slots=True)
class ProgressLimits:
    """How long a lack of progress is tolerated.

    Attributes:
        loop_unhealthy_s: the event loop has not ticked for this long: liveness fails.
        loop_wedged_s: ... and the process ends itself. Above the group's session timeout the
            partitions have another owner anyway.
        standstill_s: the event loop was stopped for this long and continues: the process ends
            itself before anything else. At the group's session timeout others have its mails.
        poll_unhealthy_s: a consumer's poll has not returned, although the broker answers. Above
            the rebalance timeout, during which no poll returns.
        poll_wedged_s: ... and the process ends itself.
        stall_s: there are mails to deliver, a relay accepts mails and the broker answers, yet
            nothing is completed and no relay replies: liveness fails, and the process ends itself.
            A hanging producer task shows in this way; a new process is safer than a new producer,
            because it finds in N.status what was stored, and publishes nothing twice.
        transmission_s: added to stall_s while a relay holds a mail: SMTP allows it minutes.
    """

    loop_unhealthy_s: float = 10.0
    loop_wedged_s: float = 30.0
    standstill_s: float = 30.0
    poll_unhealthy_s: float = 120.0
    poll_wedged_s: float = 180.0
    stall_s: float = 120.0
    transmission_s: float = 480.0


@dataclass(frozen=True, slots=True)
class Workload:
    """The work to do, and the work done.

    Attributes:
        is_waiting: whether mails are held that could be delivered now; mails that wait for an
            unreachable relay, for their time or for a person don't count.
        is_transmitting: whether a mail is being transmitted to a relay.
        done: grows with all progress.
    """

    is_waiting: bool
    is_transmitting: bool
    done: int


IDLE = Workload(is_waiting=False, is_transmitting=False, done=0)


class Progress:
    """Collects beats; read from any thread."""

    def __init__(
        self,
        clock: Clock,
        *,
        broker_answers: Callable[[], bool],
        workload: Callable[[], Workload] = lambda: IDLE,
        limits: ProgressLimits | None = None,
        end: Callable[[str], None] | None = None,
    ) -> None:
        """Start watching; `broker_answers` and `workload` may be called from any thread.

        `end` is called with the reason to end the process; the default ends it at once.
        """
        self._end = end or end_process
        self._clock = clock
        self._broker_answers = broker_answers
        self._limits = limits or ProgressLimits()
        self._beats: dict[str, float] = {}
        self._workload = workload
        self._done = 0
        self._excused_until_s = self._moved_s = clock.monotonic_s()

    def beat(self, name: str) -> None:
        """Report that a loop has completed a round."""
        self._beats[name] = self._clock.monotonic_s()

    def rest(self, name: str) -> None:
        """Don't judge a loop until its next beat: its wait may take any time."""
        self._beats.pop(name, None)

    async def tick(self) -> None:
        """Beat for the event loop until cancelled."""
        loop = asyncio.get_running_loop()
        timer: asyncio.TimerHandle | None = None

        def beat_again() -> None:
            nonlocal timer
            self._beat_loop()
            timer = loop.call_later(_TICK_S, beat_again)

        # A timer of the loop, not a sleeping task: after a standstill it runs before any task does,
        # so nothing is sent or recorded that others have taken over.
        beat_again()
        try:
            await asyncio.Event().wait()
        finally:
            if timer is not None:
                timer.cancel()

    def _beat_loop(self) -> None:
        before_s = self._beats.get(_LOOP)
        self.beat(_LOOP)
        if before_s is None:
            return
        still_s = self._beats[_LOOP] - before_s
        if still_s > self._limits.standstill_s:
            self._end(f"the process stood still for {still_s:.0f} s, others have its mails")

    def unhealthy(self) -> str | None:
        """Return what makes no progress, as text for the liveness probe; None if all is well."""
        return self._problem(self._limits.loop_unhealthy_s, self._limits.poll_unhealthy_s)

    def wedged(self) -> str | None:
        """Return what has been stuck too long, so that only a new process helps."""
        return self._problem(self._limits.loop_wedged_s, self._limits.poll_wedged_s)

    def _problem(self, loop_limit_s: float, poll_limit_s: float) -> str | None:
        now_s = self._clock.monotonic_s()
        if not self._broker_answers():
            # Without a broker polls may hang; time counts from the broker's return.
            self._excused_until_s = now_s
        for name, beat_s in list(self._beats.items()):
            since_s = beat_s if name == _LOOP else max(beat_s, self._excused_until_s)
            limit_s = loop_limit_s if name == _LOOP else poll_limit_s
            if now_s - since_s > limit_s:
                what = name if name == _LOOP else f"{name} consumer"
                return f"the {what} has not moved for {now_s - since_s:.0f} s"
        return self._stall(now_s)

    def _stall(self, now_s: float) -> str | None:
        load = self._workload()
        if not load.is_waiting or load.done != self._done:
            self._done, self._moved_s = load.done, now_s
        still_s = now_s - max(self._moved_s, self._excused_until_s)
        limit_s = self._limits.stall_s
        if load.is_transmitting:
            limit_s += self._limits.transmission_s
        if still_s > limit_s:
            return f"there are mails to deliver and none was completed for {still_s:.0f} s"
        return None


class Watchdog:
    """A thread that ends a wedged process with exit code 70 and a dump of its stacks."""

    def __init__(self, progress: Progress, *, interval_s: float = 1.0) -> None:
        self._progress = progress
        self._interval_s = interval_s
        self._stop = threading.Event()

    def start(self) -> None:
        """Start watching."""
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """Stop watching."""
        self._stop.set()

    def _watch(self) -> None:
        while not self._stop.wait(self._interval_s):
            problem = self._progress.wedged()
            if problem is not None:
                end_process(problem)


def end_process(problem: str) -> NoReturn:
    """End the process at once, with the problem and a dump of its stacks on standard error."""
    sys.stderr.write(f"mailtopic-sender: {problem}; it ends itself\n{stacks()}")
    sys.stderr.flush()
    flush_logs()
    os._exit(EXIT_WEDGED)


def stacks() -> str:
    """Return every thread's stack: modules, functions and lines, never a value."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    lines: list[str] = []
    for ident, frame in sys._current_frames().items():  # noqa: SLF001 - the documented way
        lines.append(f"  thread {names.get(ident, '?')}:")
        place = frame
        while place is not None:
            module = place.f_globals.get("__name__", "?")
            lines.append(f"    {module}.{place.f_code.co_name}:{place.f_lineno}")
            place = place.f_back  # type: ignore[assignment] # None ends the loop
    return "\n".join(lines) + "\n"
