"""Lanes: at most one running job per key, first in first out, bounded over all keys."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Generic, TypeVar

Job = TypeVar("Job")

Rest = Coroutine[Any, Any, None]
"""The rest of a job that was started without a task and turned out to need one."""

Begin = Callable[[Job, Hashable], bool]
"""Starts a lane's job without a task; returns whether it did. `Lanes.end` follows later."""


class Slots:
    """How many jobs may run at once, over every `Lanes` that shares it; first come, first served.

    Attributes:
        running: how many have a slot.
    """

    def __init__(self, limit: int) -> None:
        self.running = 0
        self._free = limit
        self._owed = 0
        self._waiting: deque[tuple[Lanes[Any], Hashable]] = deque()

    def request(self, lanes: "Lanes[Any]", lane: Hashable) -> None:
        """Start a lane with a slot taken: at once if one is free. It must be given back."""
        if self._free > 0:
            self._free -= 1
            self.running += 1
            lanes.start(lane)
        else:
            self._waiting.append((lanes, lane))

    def withdraw(self, lanes: "Lanes[Any]") -> None:
        """Withdraw requests that weren't granted yet."""
        self._waiting = deque(each for each in self._waiting if each[0] is not lanes)

    def give_back(self) -> None:
        """Return a slot, for the next job."""
        self.running -= 1
        if self._owed:
            self._owed -= 1
        elif self._waiting:
            self.running += 1
            lanes, lane = self._waiting.popleft()
            lanes.start(lane)
        else:
            self._free += 1

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Lend this job's slot to another one for a while.

        Taking it back never waits, so the limit may be exceeded for a moment afterwards.
        """
        self.give_back()
        try:
            yield
        finally:
            self.running += 1
            self._owed += 1


class Lanes(Generic[Job]):
    """Runs jobs, one lane per key.

    A job with the key None has a lane of its own. `run` must not raise: a job's owner decides what
    an error means. If it raises nevertheless, `crashed` gets the error and the jobs behind it in
    its lane are dropped, so the owner has to start again.

    Args:
        run: runs a job in a task of its own.
        slots: bounds how many run at once.
        crashed: called with what `run` raised.
        begin: tried first. One task per mail costs more than all else that most mails need.
    """

    def __init__(
        self,
        run: Callable[[Job], Awaitable[None]],
        *,
        slots: Slots,
        crashed: Callable[[BaseException], None],
        begin: Begin[Job] | None = None,
    ) -> None:
        self._run = run
        self._begin = begin
        self._slots = slots
        self._crashed = crashed
        # Lists, because a lane rarely holds a second job.
        self._queues: dict[Hashable, list[Job]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._is_cancelled = False

    def put(self, key: Hashable | None, job: Job) -> None:
        """Queue a job behind those with the same key."""
        lane: Hashable = object() if key is None else key
        queue = self._queues.get(lane)
        if queue is not None:
            queue.append(job)
            return
        if not self._queues:
            self._idle.clear()
        self._queues[lane] = [job]
        self._slots.request(self, lane)

    async def idle(self) -> None:
        """Wait until no job is queued or running."""
        await self._idle.wait()

    async def cancel(self) -> None:
        """Cancel running tasks and drop queued jobs; no further job is started.

        Jobs that were started without a task are left to their owner.
        """
        self._is_cancelled = True
        self._slots.withdraw(self)
        for queue in self._queues.values():
            queue.clear()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def start(self, lane: Hashable) -> None:
        """Start a lane's next job, with its slot already taken; for `Slots`."""
        job = self._queues[lane].pop(0)
        if self._begin is None or not self._begin(job, lane):
            self._spawn(lane, self._work(job))

    async def _work(self, job: Job) -> None:
        await self._run(job)

    def end(self, lane: Hashable, rest: Rest | None) -> None:
        """End a job that was started without a task, after running its rest, if one is given."""
        if rest is None:
            self._go_on(lane)
        elif self._is_cancelled:
            rest.close()
            self._go_on(lane)
        else:
            self._spawn(lane, rest)

    def _spawn(self, lane: Hashable, work: Rest) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended, lane))

    def _ended(self, lane: Hashable, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None or task.cancelled():
            self._queues[lane].clear()
        self._go_on(lane)
        if error is not None:
            self._crashed(error)

    def _go_on(self, lane: Hashable) -> None:
        """Return the slot and request one for the next job: other lanes come first."""
        queue = self._queues[lane]
        if not queue:
            del self._queues[lane]
            if not self._queues:
                self._idle.set()
        self._slots.give_back()
        if queue:
            self._slots.request(self, lane)
