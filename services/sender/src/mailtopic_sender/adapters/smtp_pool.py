"""The open sessions to one relay: reused while they are young, never more than allowed."""

import asyncio
from collections.abc import Awaitable, Callable

from mailtopic_runtime import Clock
from mailtopic_sender.adapters.smtp_opening import SessionRefused
from mailtopic_sender.adapters.smtp_session import SmtpSession
from mailtopic_sender.adapters.smtp_settings import RelaySettings
from mailtopic_sender.engine.relays.port import Connections


class SmtpPool:
    """Lends sessions, one task each. Nothing waits in here: a session is available or not."""

    def __init__(
        self,
        relay: RelaySettings,
        open_session: Callable[[], Awaitable[SmtpSession]],
        *,
        clock: Clock,
        is_full: Callable[[int], None],
    ) -> None:
        """Start without a session.

        Args:
            relay: how many sessions at most, and how long each is used.
            open_session: opens one, or raises SessionRefused.
            clock: its monotonic time measures the sessions' age.
            is_full: called when the relay accepts no session beyond this many open ones.
        """
        self._relay = relay
        self._open_session = open_session
        self._clock = clock
        self._is_full = is_full
        self._limit = relay.max_connections
        self._mails_each = relay.mails_per_connection
        self._count = 0
        self._idle: list[tuple[float, SmtpSession]] = []  # idle since; the oldest first
        self._reaper: asyncio.TimerHandle | None = None
        self._is_closed = False

    @property
    def connections(self) -> Connections:
        """How many sessions there are, those being opened among the busy ones."""
        idle = len(self._idle)
        return Connections(busy=self._count - idle, idle=idle, limit=self._limit)

    @property
    def limit(self) -> int:
        """How many sessions there may be now."""
        return self._limit

    def set_limits(self, *, connections: int, mails_each: int) -> None:
        """Limit the sessions, and the mails on each, from now on."""
        self._limit = connections
        self._mails_each = mails_each
        while self._idle and self._count > connections:
            self._discard(self._idle.pop(0)[1])

    def wants_back(self, session: SmtpSession) -> bool:
        """Whether a session should be released before the next mail."""
        return self._is_closed or self._count > self._limit or self._is_worn(session)

    async def acquire(self) -> SmtpSession | None:
        """Return a session for exclusive use, to be `release`d; None if there is none.

        Raises:
            SessionRefused: none could be opened, and there is no other one.
        """
        if self._is_closed:
            return None
        session = self._take_idle()
        if session is None and self._count < self._limit:
            session = await self._open_one()
        return session

    def release(self, session: SmtpSession) -> None:
        """Take a session back, or close it if it is worn."""
        if self.wants_back(session):
            self._discard(session)
            return
        session.has_waited = True
        self._idle.append((self._clock.monotonic_s(), session))
        self._schedule_reaper()

    def adopt(self, session: SmtpSession) -> None:
        """Add a session that was opened outside, by a probe."""
        self._count += 1
        self.release(session)

    def discard_idle(self) -> None:
        """Close every idle session: one of them was found dead, so the others likely are."""
        idle, self._idle = self._idle, []
        for _, session in idle:
            self._discard(session)

    def close(self) -> None:
        """Close idle sessions now, and busy ones as soon as they are released."""
        self._is_closed = True
        self.discard_idle()
        if self._reaper is not None:
            self._reaper.cancel()
            self._reaper = None

    def _take_idle(self) -> SmtpSession | None:
        """Return the one used last, so that surplus connections age and are closed."""
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
            if not refused.is_full or self._count == 1:
                raise
            self._is_full(self._count - 1)
        finally:
            if opened is None:
                self._count -= 1
        return opened

    def _discard(self, session: SmtpSession) -> None:
        session.close()
        self._count -= 1

    def _is_worn(self, session: SmtpSession) -> bool:
        return (
            not session.is_usable
            or session.mails >= self._mails_each
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
