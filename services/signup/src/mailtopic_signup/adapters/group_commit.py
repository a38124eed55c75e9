"""Group commit: what arrives while a transaction runs shares the next one.

A transaction costs round trips and a write to the disk, whatever it holds. There is no timer: a
lone job is written at once, and the higher the load, the more jobs share a transaction.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from mailtopic_signup.ports import DatabaseUnavailable

Job = TypeVar("Job")
Done = TypeVar("Done")
Write = Callable[[Sequence[Job]], Awaitable[Sequence[Done]]]


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[Job, Done]):
    job: Job
    done: "asyncio.Future[Done]"


class GroupCommit(Generic[Job, Done]):
    """Writes jobs in groups, one group at a time, each in the order in which they came.

    Every job's promise stays its own: `submit` returns after the commit, and the jobs of a group
    that can't be written are tried one by one, so that none fails because of another.

    Args:
        write: writes jobs in one transaction; returns the result of each, in the same order.
        key: a group holds only one job with the same key; the others wait for the next group.
        limit: the most jobs in a group.
    """

    def __init__(
        self, write: Write[Job, Done], *, key: Callable[[Job], Hashable], limit: int
    ) -> None:
        self._write = write
        self._key = key
        self._limit = limit
        self._waiting: list[_Waiting[Job, Done]] = []
        self._writing: asyncio.Task[None] | None = None

    async def submit(self, job: Job) -> Done:
        """Have a job written; returns its result after the commit.

        If cancelled, the job may or may not be written.

        Raises:
            DatabaseUnavailable: it was not committed, or that is unknown.
        """
        waiting: _Waiting[Job, Done] = _Waiting(job, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all())
        return await waiting.done

    async def _write_all(self) -> None:
        try:
            while group := self._next_group():
                await self._write_group(group)
        finally:
            self._writing = None

    def _next_group(self) -> list[_Waiting[Job, Done]]:
        group: dict[Hashable, _Waiting[Job, Done]] = {}
        left = []
        for each in self._waiting:
            if each.done.done():  # its caller was cancelled
                continue
            key = self._key(each.job)
            if key in group or len(group) == self._limit:
                left.append(each)
            else:
                group[key] = each
        self._waiting = left
        return list(group.values())

    async def _write_group(self, group: Sequence[_Waiting[Job, Done]]) -> None:
        try:
            results = await self._write([each.job for each in group])
        except DatabaseUnavailable as error:
            # Jobs that queued meanwhile have waited as long as a transaction may take.
            waiting, self._waiting = self._waiting, []
            for each in (*group, *waiting):
                _fail(each, DatabaseUnavailable(str(error)), error)
        except Exception as error:  # noqa: BLE001 - its callers get it
            await self._write_alone(group, error)
        except BaseException:
            for each in group:
                each.done.cancel()
            raise
        else:
            for each, result in zip(group, results, strict=True):
                if not each.done.done():
                    each.done.set_result(result)

    async def _write_alone(self, group: Sequence[_Waiting[Job, Done]], error: Exception) -> None:
        if len(group) == 1:
            _fail(group[0], error)
            return
        for each in group:
            await self._write_group([each])


def _fail(waiting: _Waiting[Job, Done], error: Exception, cause: Exception | None = None) -> None:
    if not waiting.done.done():
        error.__cause__ = cause
        waiting.done.set_exception(error)
