"""A relay that refuses every mail in the same words: mails wait, and nothing stays marked."""

from collections import Counter
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from mailtopic_contract import Outcome, decode_headers
from mailtopic_sender.adapters.memory_relay import MemoryRelay
from mailtopic_sender.domain.replies import ReplyClass
from mailtopic_sender.mail_ports import DeliveryResult, OutgoingMail
from support.conditions import until
from support.engines import NAMES, Engine

GAUGE = "mailtopic_refused_alike"


class Relay(MemoryRelay):
    """Refuses the mails that a test chooses."""

    def __init__(self) -> None:
        super().__init__()
        self.refuses: Callable[[OutgoingMail], DeliveryResult | None] = lambda _: None

    def answer_to(self, mail: OutgoingMail) -> DeliveryResult:
        return self.refuses(mail) or super().answer_to(mail)


def refused(
    kind: ReplyClass, smtp: str = "550", detail: str = "computer says no"
) -> DeliveryResult:
    return DeliveryResult(kind, relay="a", phase="rcpt", smtp=smtp, detail=detail)


def final(engine: Engine) -> Counter[Outcome]:
    """The last outcome of each mail."""
    last = {event.id: event.outcome for event in engine.events()}
    return Counter(last.values())


@pytest.fixture
def relay() -> Relay:
    return Relay()


@pytest.fixture
def engine(relay: Relay) -> Engine:
    return Engine(relay=relay, max_held_records=100)


async def mended(engine: Engine, relay: Relay, mails: int) -> None:
    """Let the relay take everything, and let time pass until it has."""
    relay.refuses = lambda _: None

    async def all_are_taken() -> bool:
        engine.clock.advance(5)
        return final(engine)[Outcome.ACCEPTED] == mails

    await until(all_are_taken, "every mail is delivered")


async def test_words_that_nobody_knows_bounce_nobody_when_everybody_gets_them(
    engine: Engine, relay: Relay
) -> None:
    relay.refuses = lambda _: refused(ReplyClass.HARD_BOUNCE)
    for number in range(40):
        await engine.publish(f"user{number}@d{number % 4}.example.com")
    with capture_logs() as logs:
        async with engine.running(), engine.running("retry"):
            await until(lambda: not engine.refusals.is_open, "it is noticed")
            assert engine.registry.get_sample_value(GAUGE, {"topic": "mails"}) == 1

            def nobody_is_marked() -> bool:
                counts = final(engine)
                return counts[Outcome.BOUNCED] == 0 and counts[Outcome.DEFERRED] >= 9

            await until(nobody_is_marked, "what was marked is taken back")
            await mended(engine, relay, 40)
    assert final(engine) == {Outcome.ACCEPTED: 40}
    assert max(Counter(mail.mail_id for mail in relay.accepted).values()) >= 1
    assert engine.registry.get_sample_value(GAUGE, {"topic": "mails"}) == 0
    told = [line for line in logs if line["event"].startswith("refusals.")]
    assert [line["event"] for line in told] == ["refusals.alike", "refusals.over"]
    assert told[0]["words"] == "550 computer says no"


async def test_a_correction_says_so_and_the_mail_goes_on_with_its_next_attempt(
    engine: Engine, relay: Relay
) -> None:
    relay.refuses = lambda _: refused(ReplyClass.HARD_BOUNCE)
    for number in range(10):
        await engine.publish(f"user{number}@example.com")
    async with engine.running():
        await until(lambda: final(engine)[Outcome.DEFERRED] == 9, "all is taken back")
    corrections = [event for event in engine.events() if event.taken_back]
    assert len(corrections) == 9
    assert {(each.outcome, each.attempt) for each in corrections} == {(Outcome.DEFERRED, 1)}
    headers = [decode_headers(each.headers) for each in engine.kafka.stored("mails.retry.10s")]
    assert {each.attempt for each in headers} == {2}
    assert {each.mail_id for each in headers} == {each.id for each in corrections}


async def test_a_corrected_mail_that_its_retry_topic_does_not_take_is_dead_and_stops_nothing(
    engine: Engine, relay: Relay
) -> None:
    engine.kafka.max_record_bytes["mails.retry.10s"] = 10
    relay.refuses = lambda _: refused(ReplyClass.HARD_BOUNCE)
    for number in range(10):
        await engine.publish(f"user{number}@example.com")
    async with engine.running():
        await until(lambda: final(engine)[Outcome.DEAD] == 9, "all is taken back, and dead")
        await mended(engine, relay, 1)
    assert len([event for event in engine.events() if event.taken_back]) == 9
    assert len(engine.kafka.stored("mails.dlq")) == 9


@pytest.mark.parametrize("kind", [ReplyClass.SENDER, ReplyClass.REPUTATION])
async def test_what_is_about_the_sender_is_held_after_three(
    engine: Engine, relay: Relay, kind: ReplyClass
) -> None:
    relay.refuses = lambda _: refused(kind, "550 5.7.1", "From not allowed")
    for number in range(30):
        await engine.publish(f"user{number}@example.com")
    async with engine.running(), engine.running("retry"):
        await until(lambda: engine.refusals.waiting == 28, "the others wait")
        assert final(engine)[Outcome.BOUNCED] == 0
        assert len(relay.sent) < 20
        dead = final(engine)[Outcome.DEAD]
        assert dead == (2 if kind is ReplyClass.REPUTATION else 0)
        await mended(engine, relay, 30 - dead)


async def test_a_list_of_dead_addresses_on_a_quiet_topic_is_not_held_for_long(
    engine: Engine, relay: Relay
) -> None:
    refuses = refused(ReplyClass.SENDER, "550 5.7.1", "we know no such sender or recipient")
    relay.refuses = lambda mail: refuses if mail.recipient.local.startswith("dead") else None
    for number in range(30):
        await engine.publish(f"dead{number}@example.com", ttl_s=3600)
    async with engine.running():
        await until(lambda: not engine.refusals.is_open, "it is noticed")
        engine.clock.advance(61)
        await until(lambda: final(engine)[Outcome.DEFERRED] == 30, "all are put off")
        assert engine.refusals.waiting == 0
        assert engine.registry.get_sample_value(GAUGE, {"topic": "mails"}) == 1
        await engine.publish("user@example.com")
        await until(lambda: final(engine)[Outcome.ACCEPTED] == 1, "others aren't held up")
        assert engine.registry.get_sample_value(GAUGE, {"topic": "mails"}) == 0


async def test_held_mails_expire(engine: Engine, relay: Relay) -> None:
    relay.refuses = lambda _: refused(ReplyClass.SENDER, "550 5.7.1", "From not allowed")
    for number in range(8):
        await engine.publish(f"user{number}@example.com", ttl_s=60)
    async with engine.running(), engine.running("retry"):
        await until(lambda: not engine.refusals.is_open, "it is noticed")
        engine.clock.advance(61)
        await until(lambda: final(engine)[Outcome.EXPIRED] == 8, "all have expired")
    assert final(engine) == {Outcome.EXPIRED: 8}


async def test_dead_addresses_among_living_ones_bounce(engine: Engine, relay: Relay) -> None:
    unknown = refused(ReplyClass.HARD_BOUNCE, "550 5.1.1", "User unknown")
    relay.refuses = lambda mail: unknown if mail.recipient.local.startswith("dead") else None
    for number in range(30):
        await engine.publish(f"dead{number}@example.com")
        await engine.publish(f"user{number}@example.com")
    async with engine.running():
        await until(lambda: sum(final(engine).values()) == 60, "all are done")
    assert final(engine) == {Outcome.BOUNCED: 30, Outcome.ACCEPTED: 30}


async def test_a_list_of_dead_addresses_bounces_although_nobody_else_writes(
    engine: Engine, relay: Relay
) -> None:
    relay.refuses = lambda _: refused(ReplyClass.HARD_BOUNCE, "550 5.1.1", "User unknown")
    for number in range(60):
        await engine.publish(f"dead{number}@example.com")
    async with engine.running():
        await until(lambda: final(engine)[Outcome.BOUNCED] == 60, "all have bounced")


async def test_the_short_way_is_closed_too() -> None:
    engine = Engine()
    engine.relay.script(*[refused(ReplyClass.SENDER, "550 5.7.1", "From not allowed")] * 3)
    for number in range(3):
        await engine.publish(f"user{number}@example.com")
    async with engine.running():
        await until(lambda: not engine.refusals.is_open, "it is noticed")
        for number in range(3, 9):
            await engine.publish(f"user{number}@example.com")
        await until(lambda: engine.refusals.waiting >= 6, "they wait")
        assert engine.relay.accepted == []
        engine.clock.advance(2)
        await until(lambda: len(engine.relay.accepted) == 7, "one tried, and all go on")
    assert engine.refusals.is_open
    assert {event.relay for event in engine.events() if event.outcome is Outcome.ACCEPTED} == {
        "memory"
    }
    assert len(engine.kafka.stored(NAMES.dlq)) == 0
