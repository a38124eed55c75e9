"""Holds dead mails while too many die: the backlog belongs in its topic, not in the DLQ."""

import asyncio

from mailtopic_runtime import Clock, get_logger
from mailtopic_sender.domain.flood import FloodBreaker, FloodLimits
from mailtopic_sender.engine.lanes import Slots
from mailtopic_sender.engine.lease import Lease
from mailtopic_sender.metrics import SenderMetrics


class FloodGate:
    """One for all consumers of a process.

    A mail that waits here has no outcome, so its offset stays, and intake stops when enough are
    held. It lends its slot meanwhile, so that others that are held already are still delivered.
    """

    def __init__(
        self,
        limits: FloodLimits,
        *,
        slots: Slots,
        metrics: SenderMetrics,
        clock: Clock,
        look_s: float = 5.0,
    ) -> None:
        """Start closed; a waiting mail checks again after look_s seconds at the latest."""
        self._breaker = FloodBreaker(limits)
        self._slots = slots
        self._metrics = metrics
        self._clock = clock
        self._look_s = look_s
        self._over = asyncio.Event()
        self._under_way = 0
        self._waiting = 0
        self._was_open = False
        self._log = get_logger(__name__)

    @property
    def waiting(self) -> int:
        """How many mails wait for their burial. Thread-safe."""
        return self._waiting

    def begin(self) -> None:
        """Count a mail as alive until its fate is known; `end` must follow."""
        self._under_way += 1

    def end(self) -> None:
        """End the count of a mail: its fate is known, or another owner continues it."""
        self._under_way -= 1

    def went_on(self) -> None:
        """Note that a mail isn't dead; call it between `begin` and `end`."""
        now_s = self._clock.monotonic_s()
        self._breaker.note(is_dead=False, now_s=now_s, under_way=self._under_way - 1)
        if self._breaker.is_open is not self._was_open:
            self._show()

    async def admit(self, reason: str, lease: Lease) -> None:
        """Return when a dead mail may be buried; call it between `begin` and `end`.

        Raises:
            Abandoned: the lease ended first.
        """
        self._under_way -= 1
        try:
            now_s = self._clock.monotonic_s()
            self._breaker.note(is_dead=True, now_s=now_s, under_way=self._under_way)
            self._show(reason)
            if not self._breaker.may_bury(now_s):
                await self._wait(lease)
        finally:
            self._under_way += 1

    async def _wait(self, lease: Lease) -> None:
        self._waiting += 1
        try:
            with self._slots.lent():
                while not self._breaker.may_bury(now_s := self._clock.monotonic_s()):
                    # Closing ends the wait; the next turn is known only roughly, because others
                    # wait too.
                    timeout_s = min(self._breaker.wait_s(now_s), self._look_s)
                    await lease.wait(self._over.wait(), timeout_s=timeout_s)
        finally:
            self._waiting -= 1
        self._show()

    def _show(self, reason: str = "") -> None:
        is_open = self._breaker.is_open
        if is_open == self._was_open:
            return
        self._was_open = is_open
        self._metrics.dlq_flood_open.set(is_open)
        if is_open:
            self._over = asyncio.Event()
            self._log.error(
                "dlq.flooded",
                reason=reason,
                hint="intake stops; mend the cause and restart, or see docs/guides/dlq.md",
            )
        else:
            self._over.set()
            self._log.info("dlq.flood-over")
