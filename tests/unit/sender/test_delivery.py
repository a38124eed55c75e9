"""One record and its outcome."""

import asyncio
from functools import partial
from uuid import uuid4

import pytest

from mailtopic_contract import KeyRing, MailSeal, Outcome, decode_headers, new_record
from mailtopic_sender.adapters.memory_relay import MemoryRelay
from mailtopic_sender.adapters.memory_source import MemoryKafka
from mailtopic_sender.domain.message import Message, MessageComposer
from mailtopic_sender.domain.replies import ReplyClass
from mailtopic_sender.engine.lease import Abandoned, Lease
from mailtopic_sender.engine.relays.patience import Patience
from mailtopic_sender.mail_ports import DeliveryResult
from mailtopic_sender.ports import ConsumedRecord
from support.conditions import until
from support.engines import NAMES, Engine


def reply(kind: ReplyClass, smtp: str | None = None, **others: float) -> DeliveryResult:
    return DeliveryResult(kind, relay="a", phase="rcpt", smtp=smtp, **others)  # type: ignore[arg-type]


async def handle(engine: Engine, record: ConsumedRecord | None = None) -> None:
    """Deliver one record: the given one, or the last of the main topic."""
    record = record or engine.kafka.stored(NAMES.main)[-1]
    await engine.delivery.handle(engine.delivery.prepare(record), Lease())


async def test_an_accepted_mail_is_recorded_as_accepted() -> None:
    engine = Engine()
    mail_id = await engine.publish()
    await handle(engine)
    (event,) = engine.events()
    assert (event.id, event.outcome, event.attempt) == (mail_id, Outcome.ACCEPTED, 1)
    assert (event.relay, event.smtp) == ("memory", "250 2.0.0")
    (stored,) = engine.kafka.stored(NAMES.status)
    assert stored.key == str(mail_id).encode()


@pytest.mark.parametrize("kind", [ReplyClass.HARD_BOUNCE, ReplyClass.CONTENT])
async def test_a_refusal_for_good_is_recorded_as_bounced(kind: ReplyClass) -> None:
    engine = Engine(relay=MemoryRelay([reply(kind, "550 5.1.1")]))
    await engine.publish()
    await handle(engine)
    assert engine.outcomes() == [Outcome.BOUNCED]
    assert engine.kafka.stored(NAMES.dlq) == []


@pytest.mark.parametrize(
    "kind",
    [
        ReplyClass.TRANSIENT,
        ReplyClass.GREYLISTED,
        ReplyClass.THROTTLED,
        ReplyClass.MAILBOX_FULL,
        ReplyClass.CLOSING,
        ReplyClass.UNKNOWN,
    ],
)
async def test_what_may_succeed_later_goes_to_a_retry_topic_as_it_came(kind: ReplyClass) -> None:
    # However it waits for its turn before: here it doesn't.
    engine = Engine(relay=MemoryRelay([reply(kind, "451 4.7.1")]), patience=Patience(refusals=1))
    mail_id = await engine.publish()
    source = engine.kafka.stored(NAMES.main)[0]
    await handle(engine)
    (retry,) = engine.kafka.stored("mails.retry.10s")
    headers = decode_headers(retry.headers)
    assert (retry.key, retry.value) == (source.key, source.value)
    assert (headers.mail_id, headers.attempt) == (mail_id, 2)
    assert headers.not_before_ms == engine.clock.now_ms() + 10_000
    assert headers.origin is not None
    assert (headers.origin.topic, headers.origin.offset) == ("mails", 0)
    assert headers.error is not None
    assert (headers.error.error_class, headers.error.smtp) == (kind.value, "451 4.7.1")
    assert engine.outcomes() == [Outcome.DEFERRED]


@pytest.mark.parametrize("kind", [ReplyClass.REPUTATION, ReplyClass.PROTOCOL])
async def test_what_only_a_person_can_mend_goes_to_the_dlq(kind: ReplyClass) -> None:
    engine = Engine(relay=MemoryRelay([reply(kind, "554 5.7.1")]))
    await engine.publish()
    source = engine.kafka.stored(NAMES.main)[0]
    await handle(engine)
    assert engine.outcomes() == [Outcome.DEAD]
    (dead,) = engine.kafka.stored(NAMES.dlq)
    assert (dead.key, dead.value) == (source.key, source.value)
    error = decode_headers(dead.headers).error
    assert error is not None
    assert (error.error_class, error.smtp) == (kind.value, "554 5.7.1")
    counted = {"topic": "mails", "reason": kind.value}
    assert engine.registry.get_sample_value("mailtopic_dead_letters_total", counted) == 1


async def retried(engine: Engine, *topics: str) -> None:
    """Deliver the mail once, and once more from each of these retry topics."""
    await handle(engine)
    for topic in topics:
        engine.clock.advance(60)
        await handle(engine, engine.kafka.stored(topic)[-1])


async def test_garbage_instead_of_a_reply_costs_three_attempts() -> None:
    engine = Engine(relay=MemoryRelay([reply(ReplyClass.PROTOCOL)] * 3))
    await engine.publish()
    await retried(engine, "mails.retry.10s", "mails.retry.1m")
    assert engine.outcomes() == [Outcome.DEFERRED, Outcome.DEFERRED, Outcome.DEAD]


async def test_a_mailbox_that_stays_full_bounces_at_the_third_attempt() -> None:
    engine = Engine(relay=MemoryRelay([reply(ReplyClass.MAILBOX_FULL, "452 4.2.2")] * 3))
    await engine.publish()
    await retried(engine, "mails.retry.10s", "mails.retry.1m")
    assert engine.outcomes() == [Outcome.DEFERRED, Outcome.DEFERRED, Outcome.BOUNCED]
    assert engine.kafka.stored(NAMES.dlq) == []


def is_tried(engine: Engine, times: int) -> bool:
    return len(engine.relay.sent) == times


async def test_a_mail_that_came_too_fast_waits_for_its_turn_and_keeps_its_attempt() -> None:
    engine = Engine(
        relay=MemoryRelay([reply(ReplyClass.THROTTLED, "454")] * 3),
        patience=Patience(first_pause_s=0.001),
    )
    await engine.publish()
    delivering = asyncio.create_task(handle(engine))
    for tries in range(1, 5):
        await until(partial(is_tried, engine, tries), "it is tried")
        engine.clock.advance(1)
    await delivering
    assert len(engine.relay.sent) == 4
    assert [(event.outcome, event.attempt) for event in engine.events()] == [(Outcome.ACCEPTED, 1)]


async def test_a_mail_that_waits_for_its_turn_is_abandoned_with_the_lease() -> None:
    engine = Engine()
    engine.relay.is_taking = False
    await engine.publish()
    lease = Lease()
    incoming = engine.delivery.prepare(engine.kafka.stored(NAMES.main)[0])
    delivering = asyncio.create_task(engine.delivery.handle(incoming, lease))
    await until(lambda: engine.mailer.relays[0].waiting, "it waits")
    lease.end()
    with pytest.raises(Abandoned):
        await delivering
    assert engine.events() == []


async def test_a_mail_that_waits_for_its_turn_can_still_be_superseded() -> None:
    engine = Engine()
    engine.relay.is_taking = False
    await engine.publish("a@example.com")
    waiting = asyncio.create_task(handle(engine))
    await until(lambda: engine.mailer.relays[0].waiting, "it waits")
    engine.clock.advance(1)
    await engine.publish("a@example.com")
    engine.delivery.prepare(engine.kafka.stored(NAMES.main)[-1])
    await waiting
    assert engine.outcomes() == [Outcome.SUPERSEDED]


async def test_the_first_origin_is_kept_and_the_last_error_replaced() -> None:
    engine = Engine(
        relay=MemoryRelay([reply(ReplyClass.GREYLISTED), reply(ReplyClass.MAILBOX_FULL)])
    )
    await engine.publish()
    await handle(engine)
    (first,) = engine.kafka.stored("mails.retry.10s")
    engine.clock.advance(10)
    await handle(engine, first)
    (second,) = engine.kafka.stored("mails.retry.1m")
    headers = decode_headers(second.headers)
    assert headers.origin is not None
    assert headers.origin.topic == "mails"
    assert headers.attempt == 3
    assert headers.error is not None
    assert headers.error.error_class == "mailbox_full"
    assert headers.first_failure_at_ms == decode_headers(first.headers).first_failure_at_ms


async def test_a_deferral_is_recorded_before_a_retry_topic_has_the_mail() -> None:
    engine = Engine(relay=MemoryRelay([reply(ReplyClass.GREYLISTED)]))
    await engine.publish()
    await handle(engine)
    topics = [place.topic for place in engine.kafka.logs if engine.kafka.logs[place]]
    assert topics.index("mails.status") < topics.index("mails.retry.10s")
    (event,) = engine.events()
    assert (event.tier, event.not_before) == ("10s", engine.clock.now_ms() + 10_000)


async def test_an_original_record_keeps_its_id_through_the_retry_topics() -> None:
    engine = Engine(relay=MemoryRelay([reply(ReplyClass.GREYLISTED)]))
    await engine.kafka.publish("mails", key=None, value=b'{"email":"a@b.example","code":"1"}')
    await handle(engine)
    (retry,) = engine.kafka.stored("mails.retry.10s")
    engine.clock.advance(10)
    await handle(engine, retry)
    deferred, accepted = engine.events()
    assert deferred.id == accepted.id
    assert accepted.outcome is Outcome.ACCEPTED


async def test_an_expired_mail_is_not_sent() -> None:
    engine = Engine()
    await engine.publish(ttl_s=5)
    engine.clock.advance(5)
    await handle(engine)
    assert engine.relay.sent == []
    assert engine.outcomes() == [Outcome.EXPIRED]


async def test_a_mail_whose_retry_would_come_too_late_expires() -> None:
    engine = Engine(relay=MemoryRelay([reply(ReplyClass.GREYLISTED)]))
    await engine.publish(ttl_s=9)
    await handle(engine)
    assert engine.outcomes() == [Outcome.EXPIRED]
    assert engine.kafka.stored("mails.retry.10s") == []


async def test_a_newer_code_supersedes_an_older_one_for_the_same_address_only() -> None:
    engine = Engine()
    await engine.publish("a@example.com")
    await engine.publish("b@example.com")
    engine.clock.advance(1)
    await engine.publish("a@example.com")
    prepared = [engine.delivery.prepare(r) for r in engine.kafka.stored(NAMES.main)]
    for incoming in prepared:
        await engine.delivery.handle(incoming, Lease())
    assert engine.outcomes() == [Outcome.SUPERSEDED, Outcome.ACCEPTED, Outcome.ACCEPTED]


async def test_mails_of_other_purposes_do_not_supersede_each_other() -> None:
    engine = Engine()
    await engine.publish("a@example.com", purpose="receipt")
    engine.clock.advance(1)
    await engine.publish("a@example.com", purpose="receipt")
    prepared = [engine.delivery.prepare(r) for r in engine.kafka.stored(NAMES.main)]
    for incoming in prepared:
        await engine.delivery.handle(incoming, Lease())
    assert engine.outcomes() == [Outcome.ACCEPTED, Outcome.ACCEPTED]


async def test_a_relay_at_fault_costs_no_attempt() -> None:
    refused = DeliveryResult(ReplyClass.AUTH, "memory", "mail", "535 5.7.8")
    engine = Engine(relay=MemoryRelay([refused]))
    await engine.publish()
    delivering = asyncio.create_task(handle(engine))
    await until(lambda: engine.relay.sent and not engine.mailer.is_available, "it was refused")
    assert engine.events() == []
    engine.relay.recover()
    await delivering
    (event,) = engine.events()
    assert (event.outcome, event.attempt) == (Outcome.ACCEPTED, 1)


async def test_waiting_for_a_relay_ends_with_the_lease() -> None:
    engine = Engine(relay=MemoryRelay([reply(ReplyClass.TRANSPORT)]))
    await engine.publish()
    lease = Lease()
    incoming = engine.delivery.prepare(engine.kafka.stored(NAMES.main)[0])
    delivering = asyncio.create_task(engine.delivery.handle(incoming, lease))
    await until(lambda: engine.relay.sent, "it was refused")
    lease.end()
    with pytest.raises(Abandoned):
        await delivering
    assert engine.events() == []


async def test_an_unknown_fate_is_held_where_the_owner_wants_that() -> None:
    engine = Engine(relay=MemoryRelay([reply(ReplyClass.UNKNOWN)]), resend_unknown=False)
    await engine.publish()
    await handle(engine)
    assert engine.outcomes() == [Outcome.UNKNOWN]
    (held,) = engine.kafka.stored(NAMES.dlq)
    error = decode_headers(held.headers).error
    assert error is not None
    assert error.error_class == "unknown"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "empty"),
        (b"", "empty"),
        (b"{", "bad-json"),
        (b'{"v":2}', "unknown-version"),
        (b'{"email":"no address","code":"1"}', "bad-address"),
        (b'{"email":"a@example.com","code":" "}', "bad-field"),
        (b"\xef\xbb\xbf{", "bad-json"),
        (b"x" * 300_000, "too-large"),
    ],
)
async def test_poison_goes_to_the_dlq_untouched(value: bytes | None, reason: str) -> None:
    engine = Engine()
    foreign = [("mine", b"\xff"), ("mt-attempt", b"1")]
    await engine.kafka.publish("mails", key=b"k", value=value, headers=foreign)
    await handle(engine)
    (dead,) = engine.kafka.stored(NAMES.dlq)
    headers = decode_headers(dead.headers)
    assert (dead.key, dead.value) == (b"k", value)
    assert headers.others == (("mine", b"\xff"),)
    assert headers.error is not None
    assert headers.error.error_class == "poison"
    assert engine.outcomes() == [Outcome.DEAD]
    counted = {"topic": "mails", "reason": reason}
    assert engine.registry.get_sample_value("mailtopic_dead_letters_total", counted) == 1


@pytest.mark.parametrize("keyring", [None, KeyRing.generate()])
async def test_an_empty_code_is_dead_sealed_or_not(keyring: KeyRing | None) -> None:
    engine = Engine(keyring=keyring)
    now_ms = engine.clock.now_ms()
    mail = new_record(
        email="a@example.com",
        variables={"code": " "},
        purpose="signup",
        locale="en",
        accepted_at_ms=now_ms,
        expires_at_ms=now_ms + 60_000,
        seal=MailSeal(keyring, "mails") if keyring else None,
    )
    await engine.kafka.publish("mails", key=b"k", value=mail.encode())
    await handle(engine)
    assert engine.outcomes() == [Outcome.DEAD]
    assert engine.relay.sent == []


async def test_times_in_seconds_are_no_silent_loss() -> None:
    engine = Engine()
    now_s = engine.clock.now_ms() // 1000
    original = b'{"email":"a@example.com","code":"1234"}'
    await engine.kafka.publish("mails", key=b"k", value=original, timestamp_ms=now_s)
    await handle(engine)
    assert engine.outcomes() == [Outcome.ACCEPTED]
    counted = {"topic": "mails"}
    name = "mailtopic_record_times_in_seconds_total"
    assert engine.registry.get_sample_value(name, counted) == 1
    waited_s = engine.registry.get_sample_value(
        "mailtopic_stage_seconds_sum", {"topic": "mails", "stage": "queue"}
    )
    assert waited_s is not None
    assert waited_s < 2


@pytest.mark.parametrize("time_ms", [-1, 0, 12_345])
async def test_an_original_record_without_a_time_is_dead(time_ms: int) -> None:
    engine = Engine()
    original = b'{"email":"a@example.com","code":"1234"}'
    await engine.kafka.publish("mails", key=b"k", value=original, timestamp_ms=time_ms)
    await handle(engine)
    (dead,) = engine.kafka.stored(NAMES.dlq)
    assert engine.outcomes() == [Outcome.DEAD]
    origin = decode_headers(dead.headers).origin
    assert origin is not None
    assert origin.timestamp_ms == max(time_ms, 0), "a time that is none is not written"


async def test_a_record_whose_expiry_is_in_seconds_is_dead() -> None:
    engine = Engine()
    now_ms = engine.clock.now_ms()
    mail = new_record(
        email="a@example.com",
        variables={"code": "1234"},
        purpose="signup",
        locale="en",
        accepted_at_ms=now_ms,
        expires_at_ms=now_ms // 1000 + 600,
        seal=None,
    )
    await engine.kafka.publish("mails", key=b"k", value=mail.encode())
    await handle(engine)
    assert engine.outcomes() == [Outcome.DEAD]


async def test_a_record_with_broken_headers_is_dead_with_its_own_headers_kept() -> None:
    engine = Engine()
    await engine.publish()
    record = engine.kafka.stored(NAMES.main)[0]
    await handle(engine, record._replace(headers=(("mt-first-failure-at", b"yesterday"),)))
    (dead,) = engine.kafka.stored(NAMES.dlq)
    assert dead.value == record.value
    assert engine.outcomes() == [Outcome.DEAD]
    assert decode_headers(dead.headers).error is not None


async def test_a_mail_sealed_with_a_foreign_key_is_dead() -> None:
    engine = Engine(keyring=KeyRing.generate("k1"))
    await engine.publish()
    stranger = Engine(kafka=engine.kafka, keyring=KeyRing.generate("k2"))
    await handle(stranger)
    assert stranger.outcomes() == [Outcome.DEAD]


class BuggyComposer(MessageComposer):
    """A composer with a bug whose text holds a secret."""

    def compose(self, **_: object) -> Message:
        raise KeyError("secret 123456")


async def test_a_bug_costs_three_attempts_and_then_one_mail() -> None:
    engine = Engine(composed_by=BuggyComposer.__new__(BuggyComposer))
    await engine.publish()
    await handle(engine)
    engine.clock.advance(10)
    await handle(engine, engine.kafka.stored("mails.retry.10s")[0])
    engine.clock.advance(60)
    await handle(engine, engine.kafka.stored("mails.retry.1m")[0])
    assert engine.outcomes() == [Outcome.DEFERRED, Outcome.DEFERRED, Outcome.DEAD]
    (dead,) = engine.kafka.stored(NAMES.dlq)
    error = decode_headers(dead.headers).error
    assert error is not None
    assert (error.error_class, error.error_type) == ("bug", "KeyError")
    assert "123456" not in str(dead.headers)


async def test_two_records_of_one_mail_are_sent_once() -> None:
    engine = Engine()
    mail_id = uuid4()
    await engine.publish(mail_id=mail_id, key=b"one")
    await engine.publish(mail_id=mail_id, key=b"two")
    engine.relay.gate.clear()
    both = [asyncio.create_task(handle(engine, r)) for r in engine.kafka.stored(NAMES.main)]
    await asyncio.sleep(0)
    engine.relay.gate.set()
    await asyncio.gather(*both)
    assert len(engine.relay.sent) == 1
    assert engine.outcomes() == [Outcome.ACCEPTED]


async def test_an_outcome_that_cannot_be_stored_is_stored_later() -> None:
    engine = Engine(kafka=MemoryKafka())
    await engine.publish()
    engine.kafka.available = False
    delivering = asyncio.create_task(handle(engine))
    await until(lambda: engine.relay.sent, "the mail was sent")
    assert not delivering.done()
    engine.kafka.available = True
    await delivering
    assert engine.outcomes() == [Outcome.ACCEPTED]
    assert len(engine.relay.sent) == 1
