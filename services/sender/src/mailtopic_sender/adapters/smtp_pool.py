"""The open sessions to one relay: reused while they are young, as many as the relay bears."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from mailtopic_runtime import Clock
from mailtopic_sender.adapters.smtp_opening import SessionRefused
from mailtopic_sender.adapters.smtp_session import Answer, SmtpSession
from mailtopic_sender.adapters.smtp_settings import RelaySettings
from mailtopic_sender.domain.replies import ReplyClass

_CLOSED = Answer(ReplyClass.TRANSPORT, "connect", problem="the sender is closing")
_SLOW_DOWN = frozenset({ReplyClass.THROTTLED, ReplyClass.CLOSING})


@dataclass(frozen=True, slots=True)
class PoolState:
    """Counts of connections; `limit` is how many the relay is trusted to bear just now."""

    busy: int
    idle: int
    limit: int


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    """Somebody who waits for a session, or (None) for leave to look for one again."""

    future: asyncio.Future[SmtpSession | None]
    is_single: bool


class SmtpPool:
    """Lends sessions, one task each.

    It opens a new one when nothing is idle and the limit allows, else callers wait in order. The
    limit adapts: halved when the relay answers 421 or that we are too fast, grown by one with
    every `limit` mails taken (additive increase, multiplicative decrease).
    """

    def __init__(
        self,
        relay: RelaySettings,
        open_session: Callable[[], Awaitable[SmtpSession]],
        *,
        clock: Clock,
    ) -> None:
        self._relay = relay
        self._open_session = open_session
        self._clock = clock
        self._limit = float(relay.max_connections)
        self._slowed_at_s = float("-inf")
        self._count = 0
        self._idle: list[tuple[float, SmtpSession]] = []  # idle since; the oldest first
        self._waiters: deque[_Waiter] = deque()
        self._reaper: asyncio.TimerHandle | None = None
        self._is_closed = False

    @property
    def state(self) -> PoolState:
        """How many connections there are."""
        idle = len(self._idle)
        return PoolState(busy=self._count - idle, idle=idle, limit=int(self._limit))

    @property
    def limit(self) -> int:
        """How many connections the relay is trusted to bear just now."""
        return int(self._limit)

    def wants_back(self, session: SmtpSession) -> bool:
        """Whether whoever streams on a session should release it before the next mail.

        Others that wait for one to stream on are no reason: they would do the same mails. Nor is
        one that has been answered and has yet to run: whoever streams would give the session back,
        take it again at once, and never let that one run.
        """
        return (
            self._is_closed
            or self._count > int(self._limit)
            or self._is_worn(session)
            or any(each.is_single and not each.future.done() for each in self._waiters)
        )

    async def acquire(self, *, fresh: bool = False, streaming: bool = False) -> SmtpSession:
        """Return a session for the caller alone, who must `release` it.

        Args:
            fresh: don't take one that lay idle: the caller has just met a dead one.
            streaming: it is for many mails, and given back when `wants_back` says so.

        Raises:
            SessionRefused: none could be opened, or `interrupt` was called meanwhile.
        """
        while True:
            if self._is_closed:
                raise SessionRefused(_CLOSED, interrupted=True)
            session = None if fresh else self._take_idle()
            if session is None and self._has_room(fresh=fresh):
                session = await self._open_one()
            elif session is None:
                session = await self._wait(streaming=streaming)
            if session is not None:
                return session

    def release(self, session: SmtpSession) -> None:
        """Take a session back; it goes to whoever waits longest, or is closed if it is worn."""
        if self._is_closed or self._is_worn(session) or self._count > int(self._limit):
            self._discard(session)
            return
        session.has_waited = True
        waiter = self._next_waiter()
        if waiter is not None:
            waiter.set_result(session)
            return
        self._idle.append((self._clock.monotonic_s(), session))
        self._schedule_reaper()

    def adopt(self, session: SmtpSession) -> None:
        """Take a session in that was opened outside, by a probe."""
        self._count += 1
        self.release(session)

    def learn(self, answer: Answer, *, began_at_s: float) -> bool:
        """Adapt the limit to what became of a mail that was begun at began_at_s (monotonic).

        Returns whether the answer halved the limit: an outcry, of which nothing was known yet.
        """
        if answer.reply_class is ReplyClass.ACCEPTED:
            if self._limit < self._relay.max_connections:
                self._grow()
        elif (
            answer.reply_class in _SLOW_DOWN
            and answer.reply is not None
            and not (answer.stale or answer.used_up)
            and began_at_s > self._slowed_at_s  # else it is the same outcry, heard twice
        ):
            self._slowed_at_s = self._clock.monotonic_s()
            self._limit = max(1.0, self._limit / 2)
            return True
        return False

    def interrupt(self, answer: Answer) -> None:
        """Let everyone who waits fail with this answer: the relay can't be reached."""
        while (waiter := self._next_waiter()) is not None:
            waiter.set_exception(SessionRefused(answer, interrupted=True))

    def discard_idle(self) -> None:
        """Close every idle session: one of them was found dead, so the others likely are."""
        idle, self._idle = self._idle, []
        for _, session in idle:
            self._discard(session)

    def close(self) -> None:
        """Close what is idle now and what is busy as soon as it is released."""
        self._is_closed = True
        self.interrupt(_CLOSED)
        self.discard_idle()
        if self._reaper is not None:
            self._reaper.cancel()
            self._reaper = None

    def _grow(self) -> None:
        before = int(self._limit)
        self._limit = min(float(self._relay.max_connections), self._limit + 1 / self._limit)
        if int(self._limit) > before:
            self._wake_one()

    def _has_room(self, *, fresh: bool) -> bool:
        if self._count >= int(self._limit) and fresh and self._idle:
            self._discard(self._idle.pop(0)[1])
        return self._count < int(self._limit)

    def _take_idle(self) -> SmtpSession | None:
        """The one used last, so that surplus connections grow old and go."""
        now_s = self._clock.monotonic_s()
        while self._idle:
            since_s, session = self._idle.pop()
            if now_s - since_s < self._relay.idle_s and not self._is_worn(session):
                return session
            self._discard(session)
        return None

    async def _open_one(self) -> SmtpSession | None:
        """Open one, or None if the relay is full but serves us on other connections."""
        self._count += 1
        opened = None
        try:
            opened = await self._open_session()
        except SessionRefused as refused:
            if refused.is_full and self._count > 1:
                self._limit = max(1.0, min(self._limit, self._count - 1.0))
                self._slowed_at_s = self._clock.monotonic_s()
                return None
            raise
        finally:
            if opened is None:
                self._count -= 1
                self._wake_one()
        return opened

    async def _wait(self, *, streaming: bool) -> SmtpSession | None:
        waiter = _Waiter(asyncio.get_running_loop().create_future(), is_single=not streaming)
        self._waiters.append(waiter)
        try:
            return await waiter.future
        except asyncio.CancelledError:
            future = waiter.future
            if not future.cancelled() and future.exception() is None:
                given = future.result()
                if given is None:
                    self._wake_one()
                else:
                    self.release(given)
            raise

    def _next_waiter(self) -> "asyncio.Future[SmtpSession | None] | None":
        """Take the one that waits longest out of the queue."""
        while self._waiters:
            future = self._waiters.popleft().future
            if not future.done():
                return future
        return None

    def _wake_one(self) -> None:
        """Let the one that waits longest look again: a place may be free."""
        waiter = self._next_waiter()
        if waiter is not None:
            waiter.set_result(None)

    def _discard(self, session: SmtpSession) -> None:
        session.close()
        self._count -= 1
        self._wake_one()

    def _is_worn(self, session: SmtpSession) -> bool:
        return (
            not session.is_usable
            or session.mails >= self._relay.mails_per_connection
            or self._clock.monotonic_s() - session.opened_at_s >= self._relay.connection_age_s
        )

    def _schedule_reaper(self) -> None:
        if self._reaper is None and self._idle:
            due_s = self._idle[0][0] + self._relay.idle_s - self._clock.monotonic_s()
            self._reaper = asyncio.get_running_loop().call_later(max(0.01, due_s), self._reap)

    def _reap(self) -> None:
        self._reaper = None
        now_s = self._clock.monotonic_s()
        while self._idle and (
            now_s - self._idle[0][0] >= self._relay.idle_s or not self._idle[0][1].is_usable
        ):
            self._discard(self._idle.pop(0)[1])
        self._schedule_reaper()
