"""Deletes what has served its time, so that the database doesn't grow for ever."""

import asyncio
import contextlib

from mailtopic_runtime import Clock
from mailtopic_signup.ports import DatabaseUnavailable, OutboxStore

_EVERY_S = 60.0


async def keep_house(outbox: OutboxStore, clock: Clock, *, retention_s: int) -> None:
    """Delete published mails and old idempotent answers once a minute, until cancelled."""
    while True:
        await asyncio.sleep(_EVERY_S)
        now_ms = clock.now_ms()
        with contextlib.suppress(DatabaseUnavailable):
            await _purge_all(outbox, now_ms, retention_s)


async def _purge_all(outbox: OutboxStore, now_ms: int, retention_s: int) -> None:
    published_before_ms = now_ms - retention_s * 1000
    rows = 1
    while rows:
        rows = await outbox.purge(published_before_ms=published_before_ms, answers_before_ms=now_ms)
