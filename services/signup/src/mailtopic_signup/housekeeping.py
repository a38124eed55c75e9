"""Deletes old rows, so that the database doesn't grow for ever."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from mailtopic_runtime import Clock
from mailtopic_signup.ports import DatabaseUnavailable, OutboxStore, RetentionStore

_EVERY_S = 60.0


@dataclass(frozen=True, slots=True)
class Housekeeping:
    """What is deleted when. Several processes may run it at the same time."""

    outbox: OutboxStore
    retention: RetentionStore
    clock: Clock
    mails_s: int
    challenges_s: int
    others: tuple[Callable[[int], Awaitable[int]], ...] = ()
    """More to purge: each takes the time (epoch ms), deletes a batch, returns its size."""

    async def run(self) -> None:
        """Delete once a minute, until cancelled."""
        while True:
            await asyncio.sleep(_EVERY_S)
            try:
                await self.purge()
            except DatabaseUnavailable:
                continue  # reported where it was found; retried in a minute

    async def purge(self) -> int:
        """Delete everything that is due, in batches; returns the number of rows deleted.

        Raises:
            DatabaseUnavailable: not all of it was deleted.
        """
        now_ms = self.clock.now_ms()
        published_before_ms = now_ms - self.mails_s * 1000
        begun_before_ms = now_ms - self.challenges_s * 1000
        mails = await _until_nothing_goes(
            lambda: self.outbox.purge(
                published_before_ms=published_before_ms, answers_before_ms=now_ms
            )
        )
        challenges = await _until_nothing_goes(
            lambda: self.retention.purge(begun_before_ms=begun_before_ms)
        )
        others = [await _until_nothing_goes(partial(purge, now_ms)) for purge in self.others]
        return mails + challenges + sum(others)


async def _until_nothing_goes(purge: Callable[[], Awaitable[int]]) -> int:
    total = 0
    while rows := await purge():
        total += rows
    return total
