"""The breaker: opened by what blames the relay, closed by proof that it works again."""

import asyncio
import contextlib

import pytest

from mailtopic_runtime import ManualClock, StateLog, get_logger
from mailtopic_sender.domain.replies import ReplyClass
from mailtopic_sender.engine.relays.backoff import Backoff
from mailtopic_sender.engine.relays.breaker import BreakerState, RelayBreaker
from mailtopic_sender.mail_ports import DeliveryResult
from support.conditions import until

AWAY = DeliveryResult(ReplyClass.TRANSPORT, "a", "connect", detail="connection refused")
LOGIN = DeliveryResult(ReplyClass.AUTH, "a", "auth", "535 5.7.8")
USED_UP = DeliveryResult(ReplyClass.QUOTA, "a", "rcpt", "454")
TAKEN = DeliveryResult(ReplyClass.ACCEPTED, "a", "body", "250 2.0.0")
AT_ONCE = Backoff(
    steps_s=(0.0,), login_steps_s=(0.0,), refused_login_steps_s=(0.0,), quota_steps_s=(0.0,)
)


class Breaking:
    """A breaker whose probes end as the test says."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.refusal: DeliveryResult | None = None
        self.probes = 0
        self.is_deaf = False
        self.breaker = RelayBreaker(
            self._probe,
            state_log=StateLog(get_logger("test").bind(relay="a"), "relay"),
            clock=self.clock,
            backoff=AT_ONCE,
            on_change=lambda: None,
        )

    async def _probe(self) -> DeliveryResult | None:
        self.probes += 1
        if self.is_deaf:
            # As asyncio.wait_for does it if the result comes together with the cancellation.
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.get_running_loop().create_future()
        await asyncio.sleep(0)
        return self.refusal

    def report(self, answer: DeliveryResult | None, recipient: str | None = None) -> None:
        admission = self.breaker.enter()
        assert admission is not None
        self.clock.advance(1)
        self.breaker.leave(admission, answer, recipient)

    def stands_at(self, gate: BreakerState) -> bool:
        return self.breaker.state is gate

    async def reaches(self, gate: BreakerState) -> None:
        await until(lambda: self.stands_at(gate), f"the gate is {gate.value}")


@pytest.mark.parametrize("blame", [AWAY, LOGIN])
async def test_a_refused_session_opens_it_until_a_session_can_be_opened(
    blame: DeliveryResult,
) -> None:
    breaking = Breaking()
    breaking.refusal = blame
    breaking.report(blame)
    assert breaking.breaker.enter() is None
    assert breaking.breaker.last_answer is blame
    await until(lambda: breaking.probes > 3, "some probes")
    assert breaking.stands_at(BreakerState.OPEN)
    breaking.refusal = None
    await breaking.reaches(BreakerState.CLOSED)
    assert breaking.breaker.enter() is not None
    await breaking.breaker.stop()


async def test_a_used_up_allowance_lets_one_mail_try_at_a_time() -> None:
    breaking = Breaking()
    breaking.report(USED_UP)
    for _ in range(3):
        await breaking.reaches(BreakerState.HALF_OPEN)
        trial = breaking.breaker.enter()
        assert trial is not None
        assert breaking.breaker.enter() is None
        breaking.breaker.leave(trial, USED_UP)
        assert breaking.stands_at(BreakerState.OPEN)
    await breaking.reaches(BreakerState.HALF_OPEN)
    breaking.report(TAKEN)
    assert breaking.stands_at(BreakerState.CLOSED)
    await breaking.breaker.stop()


@pytest.mark.parametrize("kind", [ReplyClass.QUOTA, ReplyClass.AUTH, ReplyClass.POLICY])
@pytest.mark.parametrize("phase", ["rcpt", "data", "body"])
@pytest.mark.parametrize("others", [0, 1])
async def test_one_recipient_never_opens_it(kind: ReplyClass, phase: str, others: int) -> None:
    breaking = Breaking()
    for _ in range(20):
        breaking.report(DeliveryResult(kind, "a", phase, "550"), "odd")
        for number in range(others):
            breaking.report(TAKEN, f"other {number}")
        assert breaking.stands_at(BreakerState.CLOSED)
    assert breaking.breaker.is_alone("odd") == bool(others)
    assert breaking.probes == 0


async def test_two_recipients_open_it_unless_others_are_taken_meanwhile() -> None:
    breaking = Breaking()
    for number in range(100):
        breaking.report(USED_UP, f"odd {number}")
        breaking.report(TAKEN, f"other {number}")
    assert breaking.stands_at(BreakerState.CLOSED)
    breaking.report(USED_UP, "one")
    for number in range(100):  # known to be refused alone
        breaking.report(USED_UP, f"odd {number}")
    assert breaking.stands_at(BreakerState.CLOSED)
    breaking.report(USED_UP, "two")
    assert breaking.stands_at(BreakerState.OPEN)
    await breaking.breaker.stop()


async def test_a_refusal_at_the_senders_name_is_about_no_recipient() -> None:
    breaking = Breaking()
    breaking.report(DeliveryResult(ReplyClass.AUTH, "a", "mail", "530"), "one")
    assert breaking.stands_at(BreakerState.OPEN)
    await breaking.breaker.stop()


async def test_a_recipient_that_was_refused_before_does_not_keep_others_waiting() -> None:
    breaking = Breaking()
    for recipient in ("one", "two"):
        breaking.report(USED_UP, recipient)
    await breaking.reaches(BreakerState.HALF_OPEN)
    probes = breaking.probes
    for recipient in ("one", "two", "one"):
        breaking.report(USED_UP, recipient)
        assert breaking.stands_at(BreakerState.HALF_OPEN)
    assert breaking.probes == probes
    breaking.report(TAKEN, "three")
    assert breaking.stands_at(BreakerState.CLOSED)
    for recipient in ("one", "two"):
        breaking.report(USED_UP, recipient)
    assert breaking.stands_at(BreakerState.CLOSED)


async def test_a_mail_taken_to_a_recipient_ends_what_was_known_of_it() -> None:
    breaking = Breaking()
    breaking.report(USED_UP, "one")
    breaking.report(TAKEN, "two")
    assert breaking.breaker.is_alone("one")
    breaking.report(TAKEN, "one")
    assert not breaking.breaker.is_alone("one")
    for recipient in ("one", "two"):
        breaking.report(USED_UP, recipient)
    assert breaking.stands_at(BreakerState.OPEN)
    await breaking.breaker.stop()


async def test_a_mail_that_was_begun_before_the_refusal_says_nothing_against_it() -> None:
    breaking = Breaking()
    before = breaking.breaker.enter()
    assert before is not None
    breaking.report(USED_UP, "one")
    breaking.breaker.leave(before, TAKEN, "before")
    breaking.report(USED_UP, "two")
    assert breaking.stands_at(BreakerState.OPEN)
    await breaking.breaker.stop()


async def test_a_trial_that_was_called_off_leaves_room_for_another() -> None:
    breaking = Breaking()
    breaking.report(USED_UP)
    await breaking.reaches(BreakerState.HALF_OPEN)
    breaking.report(None)
    assert breaking.stands_at(BreakerState.HALF_OPEN)
    breaking.report(TAKEN)
    assert breaking.stands_at(BreakerState.CLOSED)
    await breaking.breaker.stop()


async def test_news_of_an_outage_that_is_over_opens_nothing() -> None:
    breaking = Breaking()
    late = breaking.breaker.enter()
    assert late is not None
    breaking.clock.advance(1)
    breaking.breaker.trip(AWAY)
    await breaking.reaches(BreakerState.CLOSED)
    breaking.breaker.leave(late, AWAY)
    assert breaking.stands_at(BreakerState.CLOSED)
    await breaking.breaker.stop()


@pytest.mark.parametrize(
    "kind",
    [kind for kind in ReplyClass if not kind.blames_relay],
)
async def test_what_does_not_blame_the_relay_keeps_it_closed(kind: ReplyClass) -> None:
    breaking = Breaking()
    breaking.report(DeliveryResult(kind, "a", "rcpt"))
    assert breaking.stands_at(BreakerState.CLOSED)
    assert breaking.probes == 0


async def test_stopping_ends_a_probe_that_did_not_hear_of_it() -> None:
    breaking = Breaking()
    breaking.refusal = AWAY
    breaking.is_deaf = True
    breaking.report(AWAY)
    await until(lambda: breaking.probes == 1, "a probe under way")
    stopping = asyncio.create_task(breaking.breaker.stop())
    await asyncio.wait_for(stopping, 10)
    assert breaking.probes == 1


async def test_a_pause_that_began_before_the_share_was_known_begins_again() -> None:
    pauses: list[float] = []
    probes = 0

    async def probe() -> DeliveryResult | None:
        nonlocal probes
        probes += 1
        return LOGIN

    async def sleep(pause_s: float) -> None:
        pauses.append(pause_s)
        await asyncio.Event().wait()

    breaker = RelayBreaker(
        probe,
        state_log=StateLog(get_logger("test").bind(relay="a"), "relay"),
        clock=ManualClock(),
        backoff=Backoff(),
        on_change=lambda: None,
        sleep=sleep,
    )
    breaker.set_share(0.0)
    breaker.trip(LOGIN)
    await until(lambda: len(pauses) == 1, "the first pause")
    for share in (0.5, 0.0, 0.5):
        breaker.set_share(share)
    await until(lambda: len(pauses) == 2, "the second pause")
    await breaker.stop()
    assert pauses[0] > 3000
    assert pauses[1] < 1100
    assert (len(pauses), probes) == (2, 0)
