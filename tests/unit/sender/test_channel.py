"""A relay's queue and breaker together, on the shipped fake."""

import asyncio
from collections.abc import Callable

import pytest

from mailtopic_runtime import SystemClock
from mailtopic_sender.adapters.memory_relay import MemoryRelay
from mailtopic_sender.domain.pace import PaceBounds, RelayPace
from mailtopic_sender.domain.replies import ReplyClass
from mailtopic_sender.engine.relays import paced_queue
from mailtopic_sender.engine.relays.breaker import BreakerState
from mailtopic_sender.engine.relays.port import Feed, Offer, Place, RelayLimits
from mailtopic_sender.mail_ports import DeliveryResult, Withdrawn, always
from support.smtp_mails import composer, mail, mailer_to

AWAY = DeliveryResult(ReplyClass.TRANSPORT, "memory", "connect")
TOO_FAST = DeliveryResult(ReplyClass.THROTTLED, "memory", "rcpt", "450 4.7.1")
CLOSING = DeliveryResult(ReplyClass.CLOSING, "memory", "mail", "421 4.3.2")

WANTS_LOGIN = DeliveryResult(ReplyClass.AUTH, "memory", "mail", "530 5.7.0")

Report = Callable[[Feed, Offer], None]


async def _turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


class OneByOne(MemoryRelay):
    """Pulls mails and reports nothing of them before the test does."""

    def __init__(self) -> None:
        super().__init__()
        self.pulled: list[Offer] = []
        self.feed: Feed

    def attach(self, feed: Feed) -> None:
        super().attach(feed)
        self.feed = feed

    def _answer(self, offer: Offer) -> None:
        self.pulled.append(offer)

    async def probe(self) -> DeliveryResult | None:
        return AWAY


@pytest.mark.parametrize(
    "report",
    [
        lambda feed, offer: feed.answered(offer, TOO_FAST, Place(2)),
        lambda feed, offer: feed.unheard(offer, CLOSING, Place(2)),
        lambda feed, offer: feed.unsent(offer),
    ],
    ids=["too fast", "unheard", "unsent"],
)
async def test_what_a_relay_gives_back_during_its_outage_goes_by_another(report: Report) -> None:
    relay, other = OneByOne(), MemoryRelay(name="other")
    async with mailer_to(relay, other) as mailer:
        sending = [asyncio.create_task(mailer.send(mail())) for _ in range(2)]
        await _turns()
        relay.feed.answered(relay.pulled[0], AWAY, Place(1))
        report(relay.feed, relay.pulled[1])
        results = await asyncio.wait_for(asyncio.gather(*sending), 10)
    assert [result.relay for result in results] == ["other", "other"]


async def test_a_mail_offered_after_the_end_is_told_so() -> None:
    async with mailer_to(MemoryRelay()) as mailer:
        await mailer.close()
        result = await asyncio.wait_for(mailer.send(mail()), 10)
    assert result.reply_class is ReplyClass.TRANSPORT


async def test_a_mail_is_withdrawn_while_another_tries_the_relay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(paced_queue, "_SWEEP_S", 0.01)
    relay = MemoryRelay([WANTS_LOGIN])
    wanted = True
    async with mailer_to(relay) as mailer:
        await mailer.send(mail())
        relay.recover()
        relay.gate.clear()
        await asyncio.wait_for(mailer.wait_available(), 10)
        trial = asyncio.create_task(mailer.send(mail()))
        waiting = asyncio.create_task(mailer.send(mail(), is_wanted=lambda: wanted))
        await asyncio.sleep(0.1)  # several sweeps' time
        wanted = False
        with pytest.raises(Withdrawn):
            await asyncio.wait_for(waiting, 10)
        assert not trial.done()
        relay.gate.set()
        assert (await trial).reply_class is ReplyClass.ACCEPTED


async def test_a_relay_that_waits_for_its_turn_shows_that_it_has_to() -> None:
    relay = MemoryRelay(limits=RelayLimits(rate_per_s=0.001))
    clock = SystemClock()
    async with mailer_to(relay) as mailer:
        assert not mailer.relays[0].is_pausing(clock.monotonic_s())
        await mailer.send(mail())
        waiting = asyncio.create_task(mailer.send(mail()))
        await _turns()
        state = mailer.relays[0]
        assert state.is_pausing(clock.monotonic_s() + 900)
        assert not state.is_pausing(clock.monotonic_s() + 1100)
        assert not waiting.done()
    assert not mailer.relays[0].is_pausing(clock.monotonic_s())


async def test_a_mail_that_the_relay_was_not_asked_about_proves_nothing() -> None:
    too_large = DeliveryResult(ReplyClass.CONTENT, "memory", "local", "552 5.3.4")
    relay = MemoryRelay([WANTS_LOGIN, too_large])
    async with mailer_to(relay) as mailer:
        await mailer.send(mail())
        relay.recover()
        await asyncio.wait_for(mailer.wait_available(), 10)
        assert (await mailer.send(mail())).reply_class is ReplyClass.CONTENT
        assert mailer.relays[0].breaker.value == BreakerState.HALF_OPEN.value
        assert (await mailer.send(mail())).reply_class is ReplyClass.ACCEPTED
        assert mailer.relays[0].breaker.value == BreakerState.CLOSED.value


async def test_a_recipient_refused_alone_for_a_quota_stops_nothing_and_is_deferred() -> None:
    used_up = DeliveryResult(ReplyClass.QUOTA, "memory", "rcpt", "550")
    relay = MemoryRelay()
    relay.script(*[used_up] * 3, address="odd@example.org")
    async with mailer_to(relay) as mailer:
        odd = []
        for number in range(3):
            odd.append((await mailer.send(mail("odd@example.org"))).reply_class)
            taken = await mailer.send(mail(f"user{number}@example.org"))
            assert taken.reply_class is ReplyClass.ACCEPTED
            assert mailer.relays[0].breaker is BreakerState.CLOSED
    assert odd == [ReplyClass.QUOTA, ReplyClass.TRANSIENT, ReplyClass.TRANSIENT]


class FailsOnce(MemoryRelay):
    """Has a bug in its first probe."""

    has_failed = False

    async def probe(self) -> DeliveryResult | None:
        if self.has_failed:
            return None
        self.has_failed = True
        raise AttributeError("a bug")


async def test_a_bug_in_a_probe_does_not_close_a_relay_for_ever() -> None:
    relay = FailsOnce([AWAY])
    async with mailer_to(relay) as mailer:
        await mailer.send(mail())
        await asyncio.wait_for(mailer.wait_available(), 10)
        assert (await mailer.send(mail())).reply_class is ReplyClass.ACCEPTED


async def test_greylisting_before_the_recipient_is_named_slows_the_pace() -> None:
    grey = DeliveryResult(ReplyClass.GREYLISTED, "memory", "mail", "450 4.7.1")
    relay = MemoryRelay([grey] * 8)
    async with mailer_to(relay) as mailer:
        for number in range(8):
            await mailer.send(mail(f"user{number}@example.org"))
        assert mailer.relays[0].learned.rate_per_s is not None


class _Woken:
    """A gatekeeper that notes that it is woken."""

    room = 1

    def __init__(self) -> None:
        self.event = asyncio.Event()

    def wake(self, mails: int) -> None:
        del mails
        self.event.set()

    def look_around(self) -> None:
        """Nowhere else to look."""


async def test_a_turn_that_comes_sooner_than_expected_is_not_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(paced_queue, "_SWEEP_S", 60.0)
    clock, woken = SystemClock(), _Woken()
    now_s = clock.monotonic_s()
    queue = paced_queue.PacedQueue(
        RelayPace(PaceBounds(), now_s=now_s), woken, rate_per_s=None, clock=clock
    )
    for wait_s in (60.0, 0.05):
        queue.put_until(now_s + wait_s, _offer())
        queue.wake()
    await asyncio.wait_for(woken.event.wait(), 5)
    queue.close()


class _Ticket:
    is_wanted = staticmethod(always)

    def told(self, result: DeliveryResult | None) -> None:
        """Nothing waits for it."""


def _offer() -> Offer:
    outgoing = mail()
    message = composer().compose(
        mail_id=outgoing.mail_id,
        recipient=outgoing.recipient,
        purpose=outgoing.purpose,
        locale=outgoing.locale,
        variables=outgoing.variables,
        accepted_at_ms=outgoing.accepted_at_ms,
    )
    return Offer(outgoing, message, _Ticket())
