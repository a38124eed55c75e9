"""Group commit: what arrives while a transaction runs shares the next one.

A transaction costs round trips and a write to the disk, whatever it holds. Nobody waits for a
timer: a lone job is written at once, and the busier it gets, the more jobs share a transaction.
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

    Every job's promise stays its own: `submit` returns after the commit, and of a group that can't
    be written each job is tried alone, so that none fails because of another one.

    Args:
        write: writes jobs in one transaction; returns what became of each, in the same order.
        key: of jobs with the same key a group holds one only; the others wait for the next group.
        limit: how many jobs a group holds at most.
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
        """Have a job written; returns what became of it after the commit.

        Cancelled, it may be written or not.

        Raises:
            DatabaseUnavailable: it was not committed, or nobody knows.
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
            if each.done.done():  # whoever waited for it was cancelled
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
            # Whoever waited meanwhile has waited as long as a transaction may take.
            waiting, self._waiting = self._waiting, []
            for each in (*group, *waiting):
                _fail(each, DatabaseUnavailable(str(error)), error)
        except Exception as error:  # noqa: BLE001 - whoever waits for it gets it
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
