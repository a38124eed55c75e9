"""How many connections a relay is trusted to bear: halved by an outcry, grown by mails taken."""

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

TAKEN = Answer(ReplyClass.ACCEPTED, "body", SmtpReply(250, "2.0.0", "ok"))
TOO_FAST = Answer(ReplyClass.THROTTLED, "rcpt", SmtpReply(454, None, "Maximum sending rate"))
CLOSING = Answer(ReplyClass.CLOSING, "mail", SmtpReply(421, "4.3.2", "closing"))


class Pooled:
    """A pool whose relay opens a session whenever it is asked to."""

    def __init__(self, max_connections: int) -> None:
        self.clock = ManualClock()
        self.refusal: SessionRefused | None = None
        self.opened = 0
        self.pool = SmtpPool(
            RelaySettings("relay.test", max_connections=max_connections),
            self._open,
            clock=self.clock,
        )

    async def _open(self) -> SmtpSession:
        if self.refusal is not None:
            raise self.refusal
        self.opened += 1
        return session(self.clock)

    @property
    def limit(self) -> int:
        return self.pool.state.limit

    def learn(self, answer: Answer, *, began_at_s: float | None = None) -> bool:
        now_s = self.clock.monotonic_s()
        return self.pool.learn(answer, began_at_s=now_s if began_at_s is None else began_at_s)


@pytest.mark.parametrize("outcry", [TOO_FAST, CLOSING])
async def test_one_outcry_halves_once_however_many_mails_hear_it(outcry: Answer) -> None:
    pooled = Pooled(16)
    pooled.clock.advance(1)
    began_at_s = pooled.clock.monotonic_s()
    pooled.clock.advance(1)
    assert [pooled.learn(outcry, began_at_s=began_at_s) for _ in range(16)] == [True, *[False] * 15]
    assert pooled.limit == 8
    pooled.clock.advance(1)
    assert pooled.learn(outcry)
    assert pooled.limit == 4


async def test_a_session_is_wanted_back_for_somebody_who_waits_for_one() -> None:
    pooled = Pooled(2)
    first, second = [await pooled.pool.acquire(streaming=True) for _ in range(2)]
    waiting = asyncio.create_task(pooled.pool.acquire())
    await asyncio.sleep(0)
    assert pooled.pool.wants_back(second)
    first.close()
    # From here on nobody waits, though that task has yet to run: a stream that gave its session
    # back now would get it again at once, and so on, and the task would never run.
    pooled.pool.release(first)
    assert not pooled.pool.wants_back(second)
    assert await waiting is not first


async def test_nobody_gives_a_session_back_for_one_who_was_cancelled() -> None:
    pooled = Pooled(1)
    held = await pooled.pool.acquire(streaming=True)
    waiting = asyncio.create_task(pooled.pool.acquire())
    await asyncio.sleep(0)
    assert pooled.pool.wants_back(held)
    waiting.cancel()
    assert not pooled.pool.wants_back(held)
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_it_never_falls_below_one_connection() -> None:
    pooled = Pooled(4)
    for _ in range(10):
        pooled.clock.advance(1)
        pooled.learn(TOO_FAST)
    assert pooled.limit == 1


async def test_as_many_mails_taken_as_there_are_connections_earn_one_more() -> None:
    pooled = Pooled(16)
    for _ in range(2):
        pooled.clock.advance(1)
        pooled.learn(TOO_FAST)
    grown = []
    for _ in range(100):
        pooled.learn(TAKEN)
        grown.append(pooled.limit)
    # A quarter each at four connections, a fifth each at five, and so on.
    assert all(abs(grown.count(limit) - limit) <= 1 for limit in range(4, 12))
    assert max(grown) <= 16


@pytest.mark.parametrize(
    "answer",
    [
        Answer(ReplyClass.CLOSING, "mail", problem="connection lost"),
        Answer(ReplyClass.CLOSING, "mail", SmtpReply(421, "4.4.2", "idle"), stale=True),
        Answer(ReplyClass.GREYLISTED, "rcpt", SmtpReply(450, "4.7.1", "greylisted")),
        Answer(ReplyClass.TRANSIENT, "rcpt", SmtpReply(451, "4.3.0", "later")),
    ],
)
async def test_what_says_nothing_of_speed_slows_nothing(answer: Answer) -> None:
    pooled = Pooled(8)
    pooled.clock.advance(1)
    assert not pooled.learn(answer)
    assert pooled.limit == 8


async def test_surplus_connections_are_closed_as_they_come_back() -> None:
    pooled = Pooled(4)
    sessions = [await pooled.pool.acquire() for _ in range(4)]
    pooled.clock.advance(1)
    pooled.learn(TOO_FAST)
    for one in sessions:
        pooled.pool.release(one)
    assert (pooled.pool.state.busy, pooled.pool.state.idle) == (0, 2)
    assert [one.is_usable for one in sessions].count(False) == 2
    pooled.pool.close()


async def test_growth_lets_the_next_one_in() -> None:
    pooled = Pooled(2)
    pooled.clock.advance(1)
    pooled.learn(TOO_FAST)
    first = await pooled.pool.acquire()
    second = asyncio.create_task(pooled.pool.acquire())
    await asyncio.sleep(0)
    assert not second.done()
    pooled.learn(TAKEN)
    pooled.pool.release(await second)
    pooled.pool.release(first)
    assert pooled.opened == 2
    pooled.pool.close()


async def test_a_relay_that_wants_no_further_connection_sets_the_limit() -> None:
    pooled = Pooled(10)
    sessions = [await pooled.pool.acquire() for _ in range(3)]
    full = Answer(ReplyClass.TRANSPORT, "connect", SmtpReply(421, "4.7.0", "too many"))
    pooled.refusal = SessionRefused(full)
    fourth = asyncio.create_task(pooled.pool.acquire())
    await asyncio.sleep(0)
    assert pooled.limit == 3
    pooled.pool.release(sessions[0])
    assert await fourth is sessions[0]
    pooled.pool.close()
