"""While the DLQ takes nothing, poison waits in its partition, and mails go on."""

import asyncio

import pytest
from structlog.testing import capture_logs

from mailtopic_client import HeaderList, RecordMetadata
from mailtopic_contract import KeyRing, Outcome
from mailtopic_sender.adapters.memory_relay import MemoryRelay
from mailtopic_sender.adapters.memory_source import MemoryKafka
from mailtopic_sender.domain.replies import ReplyClass
from mailtopic_sender.engine import pump as pumps
from mailtopic_sender.mail_ports import DeliveryResult
from mailtopic_sender.ports import TopicPartition
from support.conditions import until
from support.engines import NAMES, Engine

PARKED = "mailtopic_parked_records"
LABELS = {"topic": "mails", "consumer": "main"}


def watermark(engine: Engine, partition: int = 0) -> int:
    committed = engine.kafka.committed("mails", TopicPartition("mails", partition))
    return committed.offset if committed else -1


async def poison(engine: Engine, count: int, *, key: bytes | None = None, start: int = 0) -> None:
    for number in range(start, start + count):
        await engine.kafka.publish("mails", key=key, value=b"poison %d" % number)


def letters(engine: Engine) -> list[bytes | None]:
    return [record.value for record in engine.kafka.stored(NAMES.dlq)]


async def test_poison_fills_no_slots_and_costs_no_mail_of_its_partition_or_key() -> None:
    engine = Engine()
    engine.kafka.closed.add(NAMES.dlq)
    with capture_logs() as logs:
        async with engine.running():
            await poison(engine, 200, key=b"one")
            for number in range(50):
                await engine.publish(f"user{number}@example.com", key=b"one")
            await until(lambda: len(engine.relay.sent) == 50, "every mail is sent")
            await until(
                lambda: engine.registry.get_sample_value(PARKED, LABELS) == 200, "200 are parked"
            )
            assert watermark(engine) == 0
            assert engine.slots.running == 0
            assert not engine.source.paused
            assert "mails.dlq takes no records" in (engine.dlq.problem or "")
            engine.kafka.closed.clear()
            await until(lambda: watermark(engine) == 250, "everything is committed", timeout_s=20)
            assert engine.dlq.problem is None
    assert sorted(letters(engine), key=str) == sorted(
        (b"poison %d" % number for number in range(200)), key=str
    )
    assert engine.outcomes().count(Outcome.DEAD) == 200
    assert engine.outcomes().count(Outcome.ACCEPTED) == len(engine.relay.sent) == 50
    events = [line["event"] for line in logs if line["event"].startswith("dlq.")]
    assert events == ["dlq.unavailable", "dlq.available"]


async def test_a_letter_without_an_acknowledgement_shuts_the_dlq_and_is_stored_once() -> None:
    class Hanging(MemoryKafka):
        answers = asyncio.Event()

        async def publish(
            self,
            topic: str,
            *,
            key: bytes | None,
            value: bytes | None,
            headers: HeaderList = (),
            partition: int | None = None,
            timestamp_ms: int | None = None,
            skip_offsets: int = 0,
        ) -> RecordMetadata:
            if topic == NAMES.dlq:
                await self.answers.wait()
            return await super().publish(
                topic,
                key=key,
                value=value,
                headers=headers,
                partition=partition,
                timestamp_ms=timestamp_ms,
                skip_offsets=skip_offsets,
            )

    kafka = Hanging()
    engine = Engine(kafka=kafka)
    async with engine.running():
        await poison(engine, 100)
        await engine.publish("a@example.com")
        await until(lambda: engine.relay.sent, "the mail is sent")
        assert not letters(engine)
        # A rebalance doesn't wait for the letters, and repeats none of them here.
        await engine.source.rebalance()
        await until(
            lambda: engine.registry.get_sample_value(PARKED, LABELS) == 100, "all are parked"
        )
        kafka.answers.set()
        await until(lambda: watermark(engine) == 101, "everything is committed", timeout_s=20)
    assert len(letters(engine)) == len(set(letters(engine))) == 100


async def test_a_process_that_takes_over_meanwhile_loses_nothing() -> None:
    first = Engine()
    first.kafka.closed.add(NAMES.dlq)
    await poison(first, 30)
    await first.publish("a@example.com")
    async with first.running():
        await until(lambda: first.relay.sent, "the mail is sent")
    assert watermark(first) == 0
    first.kafka.closed.clear()
    second = Engine(kafka=first.kafka)
    async with second.running():
        await until(lambda: watermark(second) == 31, "everything is committed")
    assert not second.relay.sent
    assert set(letters(second)) == {b"poison %d" % number for number in range(30)}


async def test_only_poison_stops_its_own_partition_at_the_window(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pumps, "_WINDOW_FULL", 400)
    monkeypatch.setattr(pumps, "_WINDOW_ROOM", 300)
    engine = Engine(kafka=MemoryKafka(partitions=2))
    engine.kafka.closed.add(NAMES.dlq)
    await poison(engine, 600)
    async with engine.running():
        place = TopicPartition("mails", 0)
        await until(lambda: place in engine.source.paused, "it is paused", timeout_s=60)
        assert TopicPartition("mails", 1) not in engine.source.paused
        engine.kafka.closed.clear()
        await until(
            lambda: len(engine.kafka.stored(NAMES.dlq)) >= 600,
            "all is buried",
            timeout_s=60,
        )
        await until(lambda: watermark(engine) == 600, "all is committed")
    assert len(letters(engine)) == len(set(letters(engine))) == 600


async def test_partitions_with_poison_pause_where_too_much_waits_in_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pumps, "MAX_PARKED", 50)
    engine = Engine(kafka=MemoryKafka(partitions=2))
    engine.kafka.closed.add(NAMES.dlq)
    async with engine.running():
        await poison(engine, 200)
        await until(lambda: engine.source.paused == {TopicPartition("mails", 0)}, "it is paused")
        assert len(engine.kafka.stored("mails")) - len(letters(engine)) > 50
        engine.kafka.closed.clear()
        await until(lambda: watermark(engine) == 200, "all is committed", timeout_s=20)
    assert len(letters(engine)) == 200


async def test_dead_mails_are_counted_once_by_the_flood_gate() -> None:
    engine = Engine()
    strangers = Engine(kafka=engine.kafka, keyring=KeyRing.generate("new"))
    engine.kafka.closed.add(NAMES.dlq)
    for number in range(95):
        await strangers.publish(f"sealed{number}@example.com")
    async with engine.running():
        await until(
            lambda: engine.registry.get_sample_value(PARKED, LABELS) == 95, "all are parked"
        )
        engine.kafka.closed.clear()
        await until(lambda: len(letters(engine)) == 95, "all are buried", timeout_s=20)
    assert not engine.flood.waiting
    assert len(engine.kafka.stored(NAMES.dlq)) == 95


async def test_a_mail_that_a_relay_called_dead_waits_in_hand_and_is_sent_once() -> None:
    relay = MemoryRelay()
    relay.script(
        DeliveryResult(ReplyClass.REPUTATION, relay="a", phase="data", smtp="554 5.7.1"),
        address="bad@example.com",
    )
    engine = Engine(relay=relay)
    engine.kafka.closed.add(NAMES.dlq)
    async with engine.running():
        await engine.publish("bad@example.com")
        await until(lambda: engine.dlq.waiting == 1, "it waits")
        await engine.publish("good@example.com")
        await until(lambda: len(engine.relay.sent) == 2, "the other is sent")
        engine.kafka.closed.clear()
        await until(lambda: watermark(engine) == 2, "all is committed", timeout_s=20)
    assert [mail.recipient.local for mail in relay.sent].count("bad") == 1
    assert engine.outcomes() == [Outcome.ACCEPTED, Outcome.DEAD]
