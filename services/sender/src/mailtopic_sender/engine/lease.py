"""The time during which this process owns a partition."""

import asyncio
from collections.abc import Awaitable


class Abandoned(Exception):  # noqa: N818 - it says what happened
    """The partition goes to somebody else; the record stays incomplete and comes again there."""


class Lease:
    """Ends when the partitions are being revoked or the process stops.

    What has been handed to a relay is finished all the same; what only waits gives up.

    Attributes:
        is_over: nothing new may begin.
        is_lost: somebody else may own the partition by now.
    """

    def __init__(self) -> None:
        self._ended = asyncio.Event()
        self.is_over = False
        self.is_lost = False

    def end(self) -> None:
        """Let nothing new begin."""
        self.is_over = True
        self._ended.set()

    async def ended(self) -> None:
        """Return when it ends."""
        await self._ended.wait()

    def lose(self) -> None:
        """Let nothing new begin, and let what still runs leave the rest to the next owner."""
        self.end()
        self.is_lost = True

    async def wait(self, awaited: Awaitable[object] | None, *, timeout_s: float) -> bool:
        """Wait for something (or just for the time to pass); returns whether it came in time.

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
