"""The time during which this process owns a partition."""

import asyncio
from collections.abc import Awaitable


class Abandoned(Exception):  # noqa: N818 - it says what happened
    """The partition gets another owner; the incomplete record is delivered again there."""


class Lease:
    """Ends when the partitions are revoked or the process stops.

    Mails that were handed to a relay are still finished; those that only wait are given up.

    Attributes:
        is_over: nothing new may start.
        is_lost: another member may own the partition by now.
    """

    def __init__(self) -> None:
        self._ended = asyncio.Event()
        self.is_over = False
        self.is_lost = False

    def end(self) -> None:
        """Let nothing new start."""
        self.is_over = True
        self._ended.set()

    async def ended(self) -> None:
        """Wait until it ends."""
        await self._ended.wait()

    def lose(self) -> None:
        """Let nothing new start, and let running work leave the rest to the next owner."""
        self.end()
        self.is_lost = True

    async def wait(self, awaited: Awaitable[object] | None, *, timeout_s: float) -> bool:
        """Wait for something (or just for the timeout); returns whether it completed in time.

        Raises:
            Abandoned: the lease ended first.
        """
        ended = asyncio.ensure_future(self._ended.wait())
        waits: set[asyncio.Future[object]] = {ended}  # type: ignore[arg-type] # result unused
        if awaited is not None:
            waits.add(asyncio.ensure_future(awaited))
        try:
            done, _ = await asyncio.wait(
                waits, timeout=max(timeout_s, 0.0), return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for waiting in waits:
                waiting.cancel()
        if self.is_over:
            raise Abandoned
        return bool(done)
