"""Wait for a condition, with a deadline; never for a time."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable

_POLL_S = 0.02


async def until(
    condition: Callable[[], object | Awaitable[object]], what: str, *, timeout_s: float = 30
) -> None:
    """Return when the condition holds.

    Raises:
        AssertionError: it doesn't within the time; ``what`` says what was waited for.
    """
    deadline_s = time.monotonic() + timeout_s
    while True:
        result = condition()
        if inspect.isawaitable(result):
            result = await result
        if result:
            return
        if time.monotonic() > deadline_s:
            raise AssertionError(f"not within {timeout_s:g} s: {what}")
        await asyncio.sleep(_POLL_S)
