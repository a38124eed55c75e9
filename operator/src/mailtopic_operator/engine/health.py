"""Whether this replica is alive and ready, in words; called from the probes' thread."""

import asyncio
from typing import Final, Protocol

from mailtopic_operator.engine.engine import Engine
from mailtopic_operator.engine.recorder import EventRecorder

_WEDGED_S: Final = 600.0
_POLL_S: Final = 0.02
_FLUSH_S: Final = 2.0


class Freshness(Protocol):
    """How long ago each watch last received anything."""

    def ages_s(self) -> dict[str, float]:
        """Return the seconds since each watch last received anything, by path."""
        ...


class Health:
    """Alive: its watches receive something regularly, and no batch takes forever.

    A replica that waits for the lease is alive and ready.

    Args:
        stale_s: seconds without data after which a watch counts as dead.
    """

    def __init__(self, *, stale_s: float) -> None:
        self._stale_s = stale_s
        self._engine: Engine | None = None
        self._recorder: EventRecorder | None = None
        self._freshness: Freshness | None = None

    def lead(self, engine: Engine, recorder: EventRecorder, freshness: Freshness) -> None:
        """Judge by these parts from now on: this replica leads."""
        self._freshness = freshness
        self._recorder = recorder
        self._engine = engine

    def liveness(self) -> str | None:
        """Return what is wrong beyond repair, or None."""
        if self._engine is None or self._freshness is None:
            return None
        if self._engine.busy_s > _WEDGED_S:
            return f"a batch has been on its way for {self._engine.busy_s:.0f} s"
        ages_s = self._freshness.ages_s()
        stale = [path for path, age_s in ages_s.items() if age_s > self._stale_s]
        return f"nothing came from the watch of {stale[0]}" if stale else None

    def readiness(self) -> str | None:
        """Return why this replica isn't ready yet, or None."""
        if self._engine is not None and not self._engine.is_synchronised:
            return "the MailTopics have not been read yet"
        return None

    async def idle(self, timeout_s: float) -> None:
        """Wait for the current batch, at most timeout_s seconds."""
        engine = self._engine
        if engine is None:
            return
        engine.stop()
        try:
            async with asyncio.timeout(timeout_s):
                while engine.busy_s:  # noqa: ASYNC110 - it ends within a batch
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            return
        if self._recorder is not None:
            await self._recorder.flush(_FLUSH_S)
