"""Few dead mails are buried at once; where nearly all die, the backlog stays in its topic."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from mailtopic_contract import KeyRing, Outcome
from mailtopic_sender.adapters.memory_relay import MemoryRelay
from mailtopic_sender.domain.flood import FloodBreaker, FloodLimits
from mailtopic_sender.domain.refusals import RefusalLimits
from mailtopic_sender.domain.replies import ReplyClass
from mailtopic_sender.engine.lease import Abandoned, Lease
from mailtopic_sender.mail_ports import DeliveryResult
from mailtopic_sender.ports import TopicPartition
from support.conditions import until
from support.engines import NAMES, Engine

TEN = FloodLimits(least=10)
OPEN = "mailtopic_dlq_flood_open"


def is_open(breaker: FloodBreaker) -> bool:
    return breaker.is_open  # not asked directly: mypy believes that it stays as it was


def flooded(limits: FloodLimits = TEN, *, now_s: float = 0.0) -> FloodBreaker:
    breaker = FloodBreaker(limits)
    for _ in range(limits.least):
        breaker.note(is_dead=True, now_s=now_s)
    assert is_open(breaker)
    return breaker


def test_it_opens_at_the_last_of_the_least() -> None:
    breaker = FloodBreaker(TEN)
    for _ in range(9):
        breaker.note(is_dead=True, now_s=0.0)
        assert breaker.may_bury(0.0)
    breaker.note(is_dead=True, now_s=0.0)
    assert not breaker.may_bury(0.0)


@given(st.lists(st.booleans(), max_size=300), st.integers(min_value=1, max_value=40))
def test_it_never_opens_without_the_least_and_the_share(outcomes: list[bool], least: int) -> None:
    breaker = FloodBreaker(FloodLimits(share=0.2, least=least))
    for end, is_dead in enumerate(outcomes, 1):
        breaker.note(is_dead=is_dead, now_s=0.0)
        dead = sum(outcomes[:end])
        assert is_open(breaker) == (dead >= least and dead > 0.2 * end)
        if is_open(breaker):
            return


@given(
    st.lists(st.floats(min_value=0, max_value=400), min_size=1, max_size=100),
    st.sampled_from([0.2, 1.0]),
)
def test_one_dead_in_ten_never_opens_it(pauses: list[float], share: float) -> None:
    breaker = FloodBreaker(FloodLimits(share=share, least=1))
    now_s = 0.0
    for pause_s in pauses:
        now_s += pause_s
        # The dead are known first; the relay is slow to take the others.
        breaker.note(is_dead=True, now_s=now_s, under_way=9)
        assert not is_open(breaker)
        for left in range(8, -1, -1):
            breaker.note(is_dead=False, now_s=now_s, under_way=left)


def test_a_share_of_one_switches_it_off() -> None:
    breaker = FloodBreaker(FloodLimits(share=1.0, least=1))
    for _ in range(1000):
        breaker.note(is_dead=True, now_s=0.0)
        assert breaker.may_bury(0.0)


def test_deaths_of_an_earlier_window_are_forgotten() -> None:
    breaker = FloodBreaker(TEN)
    for second in range(0, 400, 40):
        breaker.note(is_dead=True, now_s=float(second))
    assert not is_open(breaker)


@given(st.lists(st.floats(min_value=0, max_value=30), max_size=200))
def test_while_it_is_open_pauses_between_burials_double_up_to_a_minute(
    pauses: list[float],
) -> None:
    breaker = flooded()
    now_s, last_s, least_s = 0.0, 0.0, 5.0
    for pause_s in pauses:
        now_s += pause_s
        if breaker.may_bury(now_s):
            assert now_s >= last_s + least_s  # a difference would be rounded otherwise
            last_s, least_s = now_s, min(least_s * 2, 60.0)
        else:
            assert breaker.wait_s(now_s) == pytest.approx(last_s + least_s - now_s)


def test_it_closes_when_enough_mails_went_on_again() -> None:
    breaker = flooded()
    for _ in range(9):
        breaker.note(is_dead=False, now_s=1.0)
    assert is_open(breaker)
    breaker.note(is_dead=False, now_s=1.0)
    assert not is_open(breaker)
    assert breaker.may_bury(1.0)


def test_it_stays_open_while_too_many_of_the_last_are_dead() -> None:
    breaker = flooded()
    for number in range(300):
        breaker.note(is_dead=number % 3 == 0, now_s=1.0)
        assert is_open(breaker)


def test_it_closes_when_nothing_died_for_a_window_and_not_while_dead_ones_wait() -> None:
    breaker = flooded()
    now_s = 0.0
    for _ in range(20):
        now_s += 65.0
        assert breaker.may_bury(now_s)
        assert is_open(breaker)
    breaker.note(is_dead=False, now_s=now_s + 301)
    assert not is_open(breaker)


def watermark(engine: Engine) -> int:
    committed = engine.kafka.committed("mails", TopicPartition("mails", 0))
    return committed.offset if committed else 0


async def test_a_missing_key_costs_a_handful_of_mails_and_not_the_backlog() -> None:
    first = Engine(max_held_records=150)
    strangers = Engine(kafka=first.kafka, keyring=KeyRing.generate("new"))
    strangers.clock = first.clock
    for number in range(1000):
        await strangers.publish(f"sealed{number}@example.com")
        if number % 50 == 0:
            await first.publish(f"good{number}@example.com")
    with capture_logs() as logs:
        async with first.running() as pump:
            await until(lambda: first.source.paused, "intake is paused")
            # All that is held waits for its burial: the good ones among them went out.
            await until(lambda: first.flood.waiting == pump.held_records, "only dead ones are held")
            await until(lambda: not first.slots.running, "no slot is taken")
            polls = first.source.polls
            await until(lambda: first.source.polls > polls + 3, "polling goes on")
            buried = first.kafka.stored(NAMES.dlq)
            assert len(buried) == 99
            assert first.registry.get_sample_value(OPEN, {"topic": "mails"}) == 1
            assert first.flood.waiting > 100
            sent = {mail.recipient.local for mail in first.relay.sent}
            assert sent >= {"good0", "good50", "good100", "good150", "good200"}
            first.clock.advance(5)
            await until(lambda: len(first.kafka.stored(NAMES.dlq)) == 100, "one is let through")
    assert len([line for line in logs if line["event"] == "dlq.flooded"]) == 1
    assert not first.flood.waiting
    assert watermark(first) < 110

    mended = Engine(kafka=first.kafka, keyring=strangers.keyring)
    mended.clock = first.clock
    async with mended.running():
        await until(lambda: watermark(mended) == 1020, "all is committed")
    outcomes = mended.outcomes()
    assert outcomes.count(Outcome.DEAD) == len(mended.kafka.stored(NAMES.dlq)) == 100
    assert outcomes.count(Outcome.ACCEPTED) == 920
    recipients = [m.recipient.local for e in (first, mended) for m in e.relay.sent]
    assert len(recipients) == len(set(recipients)) == 920


async def test_one_poisonous_record_in_ten_never_stops_intake() -> None:
    engine = Engine(max_in_flight=50, max_held_records=400)
    for number in range(3000):
        if number % 10 == 0:
            await engine.kafka.publish(NAMES.main, key=None, value=b'{"v":2,"x":%d}' % number)
        else:
            await engine.publish(f"u{number}@example.com")
    with capture_logs() as logs:
        async with engine.running():
            await until(lambda: watermark(engine) == 3000, "all is committed", timeout_s=30)
    assert len(engine.kafka.stored(NAMES.dlq)) == 300
    assert not [line for line in logs if line["event"].startswith("dlq.")]


async def test_garbage_is_buried_at_once_however_much_it_is() -> None:
    engine = Engine()
    for number in range(1000):
        await engine.kafka.publish(NAMES.main, key=None, value=b"{%d" % number)
    await engine.publish("good@example.com")
    async with engine.running():
        await until(lambda: watermark(engine) == 1001, "all is committed")
    assert len(engine.kafka.stored(NAMES.dlq)) == 1000
    assert len(engine.relay.sent) == 1


async def test_waiting_for_a_burial_ends_with_the_lease() -> None:
    engine = Engine(flood_limits=FloodLimits(least=1))
    await engine.kafka.publish(NAMES.main, key=None, value=b'{"v":2}')
    lease = Lease()
    incoming = engine.delivery.prepare(engine.kafka.stored(NAMES.main)[0])
    handling = asyncio.create_task(engine.delivery.handle(incoming, lease))
    await until(lambda: engine.flood.waiting, "it waits")
    lease.end()
    with pytest.raises(Abandoned):
        await handling
    assert engine.kafka.stored(NAMES.dlq) == []
    assert engine.events() == []


async def test_mails_that_go_well_again_let_those_be_buried_that_waited() -> None:
    refused = DeliveryResult(ReplyClass.REPUTATION, relay="a", phase="data", smtp="554 5.7.1")
    engine = Engine(
        relay=MemoryRelay([refused] * 5),
        flood_limits=FloodLimits(least=5),
        refusal_limits=RefusalLimits(ours=6),
    )
    for number in range(5):
        await engine.publish(f"refused{number}@example.com")
    with capture_logs() as logs:
        async with engine.running():
            await until(lambda: engine.flood.waiting, "the fifth waits")
            assert len(engine.kafka.stored(NAMES.dlq)) == 4
            for number in range(5):
                await engine.publish(f"good{number}@example.com")
            await until(lambda: watermark(engine) == 10, "all is committed")
    events = [line["event"] for line in logs if line["event"].startswith("dlq.")]
    assert events == ["dlq.flooded", "dlq.flood-over"]
    assert engine.registry.get_sample_value(OPEN, {"topic": "mails"}) == 0
    assert len(engine.kafka.stored(NAMES.dlq)) == 5


async def test_mails_held_for_a_person_are_no_flood() -> None:
    unknown = DeliveryResult(ReplyClass.UNKNOWN, relay="a", phase="data")
    engine = Engine(
        relay=MemoryRelay([unknown] * 20), resend_unknown=False, flood_limits=FloodLimits(least=1)
    )
    for number in range(20):
        await engine.publish(f"u{number}@example.com")
    async with engine.running():
        await until(lambda: watermark(engine) == 20, "all is committed")
    assert len(engine.kafka.stored(NAMES.dlq)) == 20
