"""A process dies while it defers a mail, and others own the two partitions: one copy is sent."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from mailtopic_client import RecordMetadata
from mailtopic_contract import Outcome
from mailtopic_sender.adapters.memory_relay import MemoryRelay
from mailtopic_sender.adapters.memory_source import MemoryKafka
from mailtopic_sender.domain.replies import ReplyClass
from mailtopic_sender.engine.lease import Abandoned, Lease
from mailtopic_sender.mail_ports import DeliveryResult
from mailtopic_sender.ports import TopicPartition
from support.conditions import until
from support.engines import NAMES, Engine

MAIN = TopicPartition("mails", 0)
TIER = TopicPartition("mails.retry.10s", 0)
GREYLISTED = DeliveryResult(ReplyClass.GREYLISTED, relay="a", phase="rcpt", smtp="451 4.7.1")
SKIPPED = {"topic": NAMES.main, "source": "ledger"}


class Stuck(MemoryKafka):
    """Takes no records for a topic while it is held."""

    def __init__(self) -> None:
        super().__init__()
        self.free: dict[str, asyncio.Event] = {}

    def hold(self, topic: str) -> Callable[[], None]:
        self.free[topic] = asyncio.Event()
        return self.free[topic].set

    async def publish(self, topic: str, **record: Any) -> RecordMetadata:
        if topic in self.free:
            await self.free[topic].wait()
        return await super().publish(topic, **record)


def committed(engine: Engine, group: str, place: TopicPartition) -> int:
    found = engine.kafka.committed(group, place)
    return found.offset if found else -1


async def deferred_by_a_process_that_died(kafka: MemoryKafka, *, with_copy: bool) -> Engine:
    """Leave a mail deferred, its record incomplete, and the retry topic with or without it."""
    first = Engine(kafka=kafka, relay=MemoryRelay([GREYLISTED]), drain_timeout_s=0.01)
    if not with_copy and isinstance(kafka, Stuck):
        kafka.hold(TIER.topic)
    await first.publish()
    async with first.running():
        await until(first.events, "the deferral is recorded")
        if with_copy:
            await until(lambda: committed(first, "mails", MAIN) == 1, "all is committed")
    # A kill before the commit: the group is where it was before the mail was handled.
    kafka.commits = kafka.commits[:1]
    assert committed(first, "mails", MAIN) == 0
    return first


async def test_a_deferral_without_a_retry_record_is_resumed() -> None:
    kafka = Stuck()
    first = await deferred_by_a_process_that_died(kafka, with_copy=False)
    assert kafka.stored(TIER.topic) == []
    kafka.free.clear()

    second = Engine(kafka=kafka, clock=first.clock)
    async with second.running(), second.running("retry"):
        await until(lambda: committed(second, "mails", MAIN) == 1, "the record is completed")
        await until(lambda: TIER in second.retry_source.paused, "the retry waits for its time")
        assert second.relay.sent == []
        second.clock.advance(10)
        await until(lambda: second.relay.accepted, "the second attempt")
        await until(lambda: committed(second, "mails.retry", TIER) == 1, "it is committed")
    assert [(e.outcome, e.attempt) for e in second.events()] == [
        (Outcome.DEFERRED, 1),
        (Outcome.ACCEPTED, 2),
    ]
    assert len(second.relay.sent) == 1


async def test_a_replay_after_the_retry_record_sends_nothing_itself() -> None:
    kafka = Stuck()
    first = await deferred_by_a_process_that_died(kafka, with_copy=True)
    owner = Engine(kafka=kafka, clock=first.clock)
    second = Engine(kafka=kafka, clock=first.clock)
    async with owner.running("retry"), second.running():
        await until(lambda: committed(second, "mails", MAIN) == 1, "the record is completed")
        assert len(kafka.stored(TIER.topic)) == 2
        first.clock.advance(10)
        await until(lambda: committed(owner, "mails.retry", TIER) == 2, "both are through")
    assert second.relay.sent == []
    assert len(owner.relay.sent) == 1
    assert [event.outcome for event in owner.events()] == [Outcome.DEFERRED, Outcome.ACCEPTED]


async def test_a_new_owner_of_the_retry_topic_learns_that_the_first_copy_was_sent() -> None:
    kafka = Stuck()
    first = await deferred_by_a_process_that_died(kafka, with_copy=True)
    second, owner = Engine(kafka=kafka, clock=first.clock), Engine(kafka=kafka, clock=first.clock)
    release = kafka.hold(TIER.topic)
    async with second.running():
        # It has read N.status, and its copy is on its way while the retry topic's owner delivers
        # the first one and hands the partition over.
        await until(lambda: second.slots.running, "the deferral is being resumed")
        first.clock.advance(10)
        async with owner.running("retry"):
            await until(lambda: committed(owner, "mails.retry", TIER) == 1, "it is delivered")
        assert len(owner.relay.sent) == 1
        heir = Engine(kafka=kafka, clock=first.clock)
        async with heir.running("retry"):
            release()
            await until(lambda: committed(heir, "mails.retry", TIER) == 2, "the copy is through")
    assert heir.relay.sent == []
    assert second.relay.sent == []
    assert heir.registry.get_sample_value("mailtopic_replays_skipped_total", SKIPPED) == 1
    assert [event.outcome for event in heir.events()] == [Outcome.DEFERRED, Outcome.ACCEPTED]


async def test_a_broker_that_is_away_is_waited_for_before_a_copy_is_sent() -> None:
    engine = Engine()
    await engine.publish()
    record = engine.kafka.stored(NAMES.main)[0]
    headers = (*record.headers, ("mt-outcomes-from", b"0"))
    copy = engine.delivery.prepare(
        type(record)(TIER.topic, 0, 0, 0, record.key, record.value, headers)
    )
    engine.kafka.available = False
    lease = Lease()
    handling = asyncio.create_task(engine.delivery.handle(copy, lease))
    for _ in range(10):
        await asyncio.sleep(0)
    assert engine.relay.sent == []
    lease.end()
    with pytest.raises(Abandoned):
        await handling


async def test_who_lost_the_partition_during_an_attempt_defers_nothing() -> None:
    engine = Engine(relay=MemoryRelay([GREYLISTED]))
    await engine.publish()
    engine.relay.gate.clear()
    lease = Lease()
    incoming = engine.delivery.prepare(engine.kafka.stored(NAMES.main)[0])
    handling = asyncio.create_task(engine.delivery.handle(incoming, lease))
    for _ in range(10):
        await asyncio.sleep(0)
    lease.lose()
    engine.relay.gate.set()
    with pytest.raises(Abandoned):
        await handling
    assert len(engine.relay.sent) == 1
    assert engine.events() == []
    assert engine.kafka.stored(TIER.topic) == []
