"""Lanes: at most one running job per key, first in first out, bounded over all keys."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

Job = TypeVar("Job")


class Slots:
    """How many jobs may run at once, over every `Lanes` that shares it."""

    def __init__(self, limit: int) -> None:
        self.running = 0
        self._owed = 0
        self._free = asyncio.Semaphore(limit)

    async def __aenter__(self) -> None:
        await self._free.acquire()
        self.running += 1

    async def __aexit__(self, *_error: object) -> None:
        self._give_back()

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Let another job have this one's slot for a while.

        Taking it back never waits, so more jobs than the limit may run for a moment afterwards.
        """
        self._give_back()
        try:
            yield
        finally:
            self.running += 1
            self._owed += 1

    def _give_back(self) -> None:
        self.running -= 1
        if self._owed:
            self._owed -= 1
        else:
            self._free.release()


class Lanes(Generic[Job]):
    """Runs jobs, one lane per key.

    A job with the key None has a lane of its own. `run` must not raise: a job's owner decides
    what an error means. What it raises all the same is handed to `crashed`; the jobs behind it in
    its lane are dropped then, so the owner has to start anew.
    """

    def __init__(
        self,
        run: Callable[[Job], Awaitable[None]],
        *,
        slots: Slots,
        crashed: Callable[[BaseException], None],
    ) -> None:
        self._run = run
        self._slots = slots
        self._crashed = crashed
        self._queues: dict[Hashable, deque[Job]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def put(self, key: Hashable | None, job: Job) -> None:
        """Queue a job behind those with the same key."""
        lane: Hashable = object() if key is None else key
        queue = self._queues.get(lane)
        if queue is not None:
            queue.append(job)
            return
        self._queues[lane] = deque([job])
        task = asyncio.create_task(self._work(lane), name="lane")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def idle(self) -> None:
        """Return when no job is queued or running."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def cancel(self) -> None:
        """Cancel what runs and drop what is queued."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _work(self, lane: Hashable) -> None:
        queue = self._queues[lane]
        try:
            while queue:
                async with self._slots:
                    await self._run(queue.popleft())
        finally:
            del self._queues[lane]

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._crashed(error)
