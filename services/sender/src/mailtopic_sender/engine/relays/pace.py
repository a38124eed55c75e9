"""When a relay may be offered the next mail: not above its rate, and not while it is braked."""

import asyncio
from collections import deque
from contextlib import suppress
from typing import Any

from mailtopic_runtime import Clock
from mailtopic_sender.domain.token_bucket import TokenBucket
from mailtopic_sender.mail_ports import Permit, Withdrawn

_NEVER = float("-inf")


class Turn:
    """The right to offer one mail; to be used at that moment, and to be ended in any case."""

    def __init__(self, pace: "Pace") -> None:
        self._pace = pace
        self._is_open = True

    def use(self) -> None:
        """The mail is offered now."""
        if self._is_open:
            self._is_open = False
            self._pace.spend()

    def end(self) -> None:
        """No mail will be offered any more: if none was, somebody else may."""
        if self._is_open:
            self._is_open = False
            self._pace.give_back()


class Pace:
    """Lets mails go one after the other, in the order in which they came.

    Who waits here holds no connection. Without a rate and without a brake nobody waits.
    """

    def __init__(self, rate_per_s: float | None, *, clock: Clock) -> None:
        """Start unbraked.

        Args:
            rate_per_s: mails a second of all processes together; None for as fast as it goes.
            clock: its monotonic time is what counts.
        """
        self._clock = clock
        self._bucket = TokenBucket(rate_per_s, clock=clock) if rate_per_s else None
        self._braked_until_s = _NEVER
        self._waiters: deque[asyncio.Future[bool]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def wait_s(self) -> float:
        """About how long a mail that came now would have to wait, seconds; may be infinite."""
        return self._wait_s(len(self._waiters))

    @property
    def is_free(self) -> bool:
        """Whether any number of mails may go just now."""
        if self._bucket is not None or self._waiters:
            return False
        return self._braked_until_s == _NEVER or not self.is_braked

    @property
    def is_braked(self) -> bool:
        """Whether no mail may go just now."""
        return self._clock.monotonic_s() < self._braked_until_s

    def set_share(self, share: float) -> None:
        """Set this process's part of the rate, 0 to 1."""
        if self._bucket is not None:
            self._bucket.set_share(share)
            self._let_go()

    def brake(self, pause_s: float) -> None:
        """Let no mail go for so many seconds; a longer brake isn't shortened."""
        until_s = self._clock.monotonic_s() + pause_s
        self._braked_until_s = max(self._braked_until_s, until_s)
        self._schedule()

    def interrupt(self) -> None:
        """Let everyone who waits know that this relay takes no mails now."""
        while self._waiters:
            self._answer(self._waiters.popleft(), go=False)
        self._schedule()

    def spend(self) -> None:
        """A turn is being used."""
        if self._bucket is not None:
            self._bucket.spend()
            if self._waiters:
                self._let_go()

    def give_back(self) -> None:
        """A turn won't be used."""
        if self._bucket is not None:
            self._bucket.give_back()
            self._let_go()

    async def turn(self, permit: Permit, *, timeout_s: float) -> Turn | None:
        """Wait for a turn; None if `interrupt` was called meanwhile.

        Raises:
            Withdrawn: the permit ended, or timeout_s seconds passed.
        """
        if not permit.holds:
            raise Withdrawn
        if not self._waiters and self._take():
            return Turn(self)
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._schedule()
        try:
            return Turn(self) if await _answered(waiter, permit, timeout_s) else None
        except BaseException:
            if waiter.done() and not waiter.cancelled() and waiter.result():
                self.give_back()
            raise
        finally:
            waiter.cancel()
            with suppress(ValueError):
                self._waiters.remove(waiter)
                self._schedule()

    def _wait_s(self, ahead: int) -> float:
        brake_s = max(0.0, self._braked_until_s - self._clock.monotonic_s())
        return max(brake_s, self._bucket.wait_s(ahead)) if self._bucket is not None else brake_s

    def _take(self) -> bool:
        if self.is_braked:
            return False
        return self._bucket is None or self._bucket.take()

    def _let_go(self) -> None:
        """Answer everyone whose turn has come."""
        while self._waiters and self._take():
            self._answer(self._waiters.popleft(), go=True)
        self._schedule()

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._waiters or (self._bucket is not None and self._bucket.is_exhausted):
            return
        wait_s = self._wait_s(0)
        if wait_s != float("inf"):
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._let_go)

    def _answer(self, waiter: asyncio.Future[bool], *, go: bool) -> None:
        if not waiter.done():
            waiter.set_result(go)
        elif go and self._bucket is not None:
            self._bucket.give_back()


async def _answered(waiter: asyncio.Future[bool], permit: Permit, timeout_s: float) -> bool:
    ended: asyncio.Future[Any] = asyncio.ensure_future(permit.ended())
    try:
        await asyncio.wait(
            {waiter, ended}, timeout=max(0.0, timeout_s), return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        ended.cancel()
    if not waiter.done() or not permit.holds:
        raise Withdrawn
    return waiter.result()
