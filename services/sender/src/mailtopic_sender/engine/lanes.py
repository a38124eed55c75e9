"""Lanes: at most one running job per key, first in first out, bounded over all keys."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Generic, TypeVar

Job = TypeVar("Job")

Rest = Coroutine[Any, Any, None]
"""What is left of a job that was begun without a task and turned out to need one."""

Begin = Callable[[Job, Hashable], bool]
"""Begins the job of a lane without a task; returns whether it did. `Lanes.end` follows, later."""


class Slots:
    """How many jobs may run at once, over every `Lanes` that shares it. Who waits is served first.

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
        """Forget what was requested and not got."""
        self._waiting = deque(each for each in self._waiting if each[0] is not lanes)

    def give_back(self) -> None:
        """Let the next job have a slot."""
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
        """Let another job have this one's slot for a while.

        Taking it back never waits, so more jobs than the limit may run for a moment afterwards.
        """
        self.give_back()
        try:
            yield
        finally:
            self.running += 1
            self._owed += 1


class Lanes(Generic[Job]):
    """Runs jobs, one lane per key.

    A job with the key None has a lane of its own. `run` must not raise: a job's owner decides
    what an error means. What it raises all the same is handed to `crashed`; the jobs behind it in
    its lane are dropped then, so the owner has to start anew.

    Args:
        run: does a job in a task of its own.
        slots: bounds how many run.
        crashed: is told what `run` raised.
        begin: tried first. A task a mail costs more than all that most mails need.
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
        # Lists, because hardly any lane ever holds a second job.
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
        """Return when no job is queued or running."""
        await self._idle.wait()

    async def cancel(self) -> None:
        """Cancel the tasks that run and drop what is queued; nothing is begun any more.

        It doesn't end what was begun without a task: that is its owner's.
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
        """Start a lane's next job, which has its slot; for `Slots`."""
        job = self._queues[lane].pop(0)
        if self._begin is None or not self._begin(job, lane):
            self._spawn(lane, self._work(job))

    async def _work(self, job: Job) -> None:
        await self._run(job)

    def end(self, lane: Hashable, rest: Rest | None) -> None:
        """End a job that was begun without a task; given the rest of it, that is run first."""
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
        """Give the slot back, and ask for one for the next job: other lanes come first."""
        queue = self._queues[lane]
        if not queue:
            del self._queues[lane]
            if not self._queues:
                self._idle.set()
        self._slots.give_back()
        if queue:
            self._slots.request(self, lane)
