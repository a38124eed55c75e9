"""How many sessions a pool keeps: as many as are allowed, and none that is worn."""

import asyncio

import pytest

from mailtopic_runtime import ManualClock
from mailtopic_sender.adapters.smtp_opening import SessionRefused
from mailtopic_sender.adapters.smtp_pool import SmtpPool
from mailtopic_sender.adapters.smtp_reply import SmtpReply
from mailtopic_sender.adapters.smtp_session import Answer, SmtpSession
from mailtopic_sender.adapters.smtp_settings import RelaySettings
from mailtopic_sender.domain.replies import ReplyClass
from support.smtp_sessions import session

FULL = Answer(ReplyClass.TRANSPORT, "connect", SmtpReply(421, "4.7.0", "too many"))
AWAY = Answer(ReplyClass.TRANSPORT, "connect", problem="connection refused")


class Pooled:
    """A pool whose relay opens a session whenever it is asked to."""

    def __init__(self, max_connections: int) -> None:
        self.clock = ManualClock()
        self.refusal: SessionRefused | None = None
        self.opened = 0
        self.full_at: list[int] = []
        self.pool = SmtpPool(
            RelaySettings("relay.test", max_connections=max_connections),
            self._open,
            clock=self.clock,
            is_full=self.full_at.append,
        )

    async def _open(self) -> SmtpSession:
        await asyncio.sleep(0)
        if self.refusal is not None:
            raise self.refusal
        self.opened += 1
        return session(self.clock)

    async def taken(self, count: int) -> list[SmtpSession]:
        sessions = [await self.pool.acquire() for _ in range(count)]
        return [each for each in sessions if each is not None]


async def test_there_are_never_more_than_allowed_those_being_opened_included() -> None:
    pooled = Pooled(3)
    sessions = await asyncio.gather(*(pooled.pool.acquire() for _ in range(5)))
    assert [each is None for each in sessions].count(True) == 2
    assert pooled.opened == 3


async def test_a_session_that_was_released_is_used_again() -> None:
    pooled = Pooled(2)
    (one,) = await pooled.taken(1)
    pooled.pool.release(one)
    assert await pooled.pool.acquire() is one
    assert one.has_waited


async def test_a_lower_limit_closes_what_is_idle_and_takes_back_what_is_busy() -> None:
    pooled = Pooled(4)
    sessions = await pooled.taken(4)
    pooled.pool.release(sessions[0])
    pooled.pool.set_limits(connections=2, mails_each=100)
    assert pooled.pool.connections == (3, 0, 2)
    assert pooled.pool.wants_back(sessions[1])
    pooled.pool.release(sessions[1])
    assert not pooled.pool.wants_back(sessions[2])
    pooled.pool.release(sessions[2])
    assert pooled.pool.connections == (1, 1, 2)
    assert [each.is_usable for each in sessions] == [False, False, True, True]
    pooled.pool.close()


async def test_a_session_is_given_back_after_its_mails_or_its_time() -> None:
    pooled = Pooled(2)
    first, second = await pooled.taken(2)
    pooled.pool.set_limits(connections=2, mails_each=3)
    first.mails = 2
    assert not pooled.pool.wants_back(first)
    first.mails = 3
    assert pooled.pool.wants_back(first)
    pooled.clock.advance(300)
    assert pooled.pool.wants_back(second)


async def test_a_relay_that_wants_no_further_connection_serves_on_the_others() -> None:
    pooled = Pooled(10)
    await pooled.taken(3)
    pooled.refusal = SessionRefused(FULL)
    assert await pooled.pool.acquire() is None
    assert pooled.full_at == [3]
    assert pooled.pool.connections.busy == 3


@pytest.mark.parametrize("answer", [FULL, AWAY])
async def test_a_relay_without_a_connection_refuses(answer: Answer) -> None:
    pooled = Pooled(10)
    pooled.refusal = SessionRefused(answer)
    with pytest.raises(SessionRefused):
        await pooled.pool.acquire()
    assert pooled.pool.connections == (0, 0, 10)


async def test_nothing_is_lent_after_the_end() -> None:
    pooled = Pooled(10)
    busy, idle = await pooled.taken(2)
    pooled.pool.release(idle)
    pooled.pool.close()
    assert await pooled.pool.acquire() is None
    pooled.pool.release(busy)
    assert not busy.is_usable
    assert not idle.is_usable
