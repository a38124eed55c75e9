"""The loop: what is committed, when intake pauses, and what happens to work at a rebalance."""

import asyncio
from collections.abc import Collection
from uuid import uuid4

from mailtopic_contract import (
    MailHeaders,
    Outcome,
    RecordOrigin,
    StatusEvent,
    decode_headers,
)
from mailtopic_sender.adapters.memory_relay import MemoryRelay
from mailtopic_sender.adapters.memory_source import MemoryKafka, MemorySource
from mailtopic_sender.domain.replies import ReplyClass
from mailtopic_sender.engine.watermark import Snapshot, decode_snapshot, encode_snapshot
from mailtopic_sender.mail_ports import DeliveryResult
from mailtopic_sender.ports import Committed, TopicPartition
from support.conditions import until
from support.engines import NAMES, Engine

MAIN = TopicPartition("mails", 0)
OF_TOPIC = {"topic": "mails"}


class Pausing(MemorySource):
    """Counts how often partitions are paused."""

    pauses = 0

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        self.pauses += bool(partitions)
        super().pause(partitions)


def progress(engine: Engine) -> Snapshot:
    committed = engine.kafka.committed("mails", MAIN)
    assert committed is not None
    return decode_snapshot(committed)


def watermark(engine: Engine) -> int:
    committed = engine.kafka.committed("mails", MAIN)
    return committed.offset if committed else -1


async def test_everything_that_was_read_ends_and_is_committed() -> None:
    engine = Engine()
    for number in range(50):
        await engine.publish(f"u{number}@example.com", skip_offsets=number % 3)
    end = engine.kafka.stored(NAMES.main)[-1].offset + 1
    async with engine.running():
        await until(lambda: watermark(engine) == end, "all is committed")
    assert engine.outcomes() == [Outcome.ACCEPTED] * 50


async def test_no_commit_passes_a_mail_without_an_outcome() -> None:
    relay = MemoryRelay()
    engine = Engine(relay=relay)
    slow = relay.hold("slow@example.com")
    await engine.publish("fast0@example.com")
    await engine.publish("slow@example.com")
    for number in range(1, 6):
        await engine.publish(f"fast{number}@example.com")
    async with engine.running():
        await until(lambda: watermark(engine) == 1 and progress(engine).completed, "six are done")
        await until(lambda: len(progress(engine).completed) == 5, "they are in the metadata")
        slow.set()
        await until(lambda: watermark(engine) == 7, "all is committed")
    offsets = [what.offset for _, _, what in engine.kafka.commits]
    assert offsets == sorted(offsets)


async def test_a_new_process_repeats_only_what_had_no_outcome() -> None:
    relay = MemoryRelay()
    first = Engine(relay=relay, drain_timeout_s=0.01)
    relay.hold("slow@example.com")
    for name in ("a", "slow", "b", "c"):
        await first.publish(f"{name}@example.com")
    async with first.running():
        await until(lambda: first.kafka.commits and len(progress(first).completed) == 2, "b and c")

    second = Engine(kafka=first.kafka)
    async with second.running():
        await until(lambda: watermark(second) == 4, "all is committed")
    assert [mail.recipient.local for mail in second.relay.sent] == ["slow"]


async def test_outcomes_that_were_recorded_but_not_committed_are_not_repeated() -> None:
    first = Engine()
    for name in ("a", "b", "c"):
        await first.publish(f"{name}@example.com")
    async with first.running():
        await until(lambda: len(first.outcomes()) == 3, "three outcomes")
    # A kill between outcome and commit: the group is where it was at its start.
    first.kafka.commits = first.kafka.commits[:1]
    assert watermark(first) == 0

    second = Engine(kafka=first.kafka)
    async with second.running():
        await until(lambda: watermark(second) == 3, "all is committed")
    assert second.relay.sent == []
    skipped = OF_TOPIC | {"source": "ledger"}
    assert second.registry.get_sample_value("mailtopic_replays_skipped_total", skipped) == 3


async def test_a_partition_is_committed_before_anything_of_it_is_sent() -> None:
    engine = Engine()
    await engine.publish()
    engine.relay.gate.clear()
    async with engine.running():
        await until(lambda: engine.slots.running, "it is being sent")
        assert engine.kafka.committed("mails", MAIN) == Committed(0, "v1||0")
        engine.relay.gate.set()


async def test_metadata_that_nobody_understands_costs_only_repetition() -> None:
    engine = Engine()
    await engine.publish("a@example.com")
    await engine.publish("b@example.com")
    engine.kafka.commits.append(("mails", MAIN, Committed(1, "garbage")))
    async with engine.running():
        await until(lambda: watermark(engine) == 2, "all is committed")
    assert [mail.recipient.local for mail in engine.relay.sent] == ["b"]


async def test_a_rebalance_waits_for_what_runs_and_commits_it() -> None:
    relay = MemoryRelay()
    engine = Engine(relay=relay, max_in_flight=1)
    slow = relay.hold("slow@example.com")
    await engine.publish("slow@example.com")
    await engine.publish("queued@example.com")
    async with engine.running():
        await until(lambda: engine.slots.running, "one is being sent")
        moving = asyncio.create_task(engine.source.rebalance())
        for _ in range(50):
            await asyncio.sleep(0)
        assert not moving.done()
        slow.set()
        await moving
        assert progress(engine).offset == 1
        await until(lambda: watermark(engine) == 2, "the queued one follows")
    assert [mail.recipient.local for mail in relay.sent] == ["slow", "queued"]
    # What was only queued was forgotten, not begun in the old assignment.
    assert engine.registry.get_sample_value("mailtopic_stale_completions_total", OF_TOPIC) == 0
    skipped = OF_TOPIC | {"source": "ledger"}
    assert engine.registry.get_sample_value("mailtopic_replays_skipped_total", skipped) == 0


async def test_a_straggler_of_an_old_assignment_completes_nothing() -> None:
    relay = MemoryRelay()
    engine = Engine(relay=relay, drain_timeout_s=0.05)
    slow = relay.hold("slow@example.com")
    await engine.publish("slow@example.com")
    async with engine.running():
        await until(lambda: engine.slots.running, "it is being sent")
        await engine.source.rebalance()
        await until(lambda: engine.source.polls > 5, "it is read again")
        assert watermark(engine) == 0
        slow.set()
        await until(lambda: watermark(engine) == 1, "it is committed")
    assert len(relay.sent) == 1
    assert engine.registry.get_sample_value("mailtopic_stale_completions_total", OF_TOPIC) == 1


async def test_a_rejected_commit_ends_the_assignment() -> None:
    engine = Engine()
    await engine.publish("a@example.com")
    async with engine.running():
        await until(lambda: watermark(engine) == 1, "all is committed")
        engine.source.reject_commits = True
        await engine.publish("b@example.com")
        failed = "mailtopic_commits_failed_total"
        await until(
            lambda: engine.registry.get_sample_value(failed, OF_TOPIC) == 1, "it was rejected"
        )
        engine.source.reject_commits = False
        await engine.publish("c@example.com")
        await engine.source.rebalance()
        await until(lambda: watermark(engine) == 3, "the next assignment goes on")
    assert [mail.recipient.local for mail in engine.relay.sent] == ["a", "b", "c"]


async def test_intake_pauses_when_enough_is_held_and_polling_goes_on() -> None:
    engine = Engine(max_in_flight=2, max_held_records=4)
    engine.relay.gate.clear()
    for number in range(30):
        await engine.publish(f"u{number}@example.com")
    async with engine.running():
        await until(lambda: engine.source.paused == {MAIN}, "intake is paused")
        polls = engine.source.polls
        await until(lambda: engine.source.polls > polls + 3, "polling goes on")
        assert engine.source.paused == {MAIN}
        engine.relay.gate.set()
        await until(lambda: watermark(engine) == 30, "all is committed")
        assert not engine.source.paused


async def test_a_pause_holds_across_a_rebalance() -> None:
    engine = Engine(max_in_flight=2, max_held_records=4, drain_timeout_s=0.01)
    engine.relay.gate.clear()
    for number in range(30):
        await engine.publish(f"u{number}@example.com")
    async with engine.running():
        await until(lambda: engine.source.paused == {MAIN}, "intake is paused")
        await engine.source.rebalance()
        assert not engine.source.paused
        await until(lambda: engine.source.paused == {MAIN}, "it is paused again")
        engine.relay.gate.set()
        await until(lambda: watermark(engine) == 30, "all is committed")
    assert len(engine.relay.sent) == 30


async def test_a_relay_outage_does_not_hold_up_the_end_of_the_process() -> None:
    down = DeliveryResult(ReplyClass.TRANSPORT, relay="a", phase="connect")
    engine = Engine(relay=MemoryRelay([down]))
    await engine.publish()
    async with asyncio.timeout(3), engine.running():
        await until(lambda: not engine.mailer.is_available, "the relay is away")
    assert watermark(engine) == 0
    assert engine.outcomes() == []


async def test_a_log_that_was_replaced_is_read_from_its_new_start() -> None:
    engine = Engine()
    await engine.publish("a@example.com")
    await engine.publish("b@example.com")
    async with engine.running():
        await until(lambda: watermark(engine) == 2, "all is committed")
        engine.kafka.logs[MAIN].clear()
        await engine.publish("new@example.com")
        engine.source._positions[MAIN] = 0  # noqa: SLF001 - as auto.offset.reset does
        await until(lambda: len(engine.relay.sent) == 3, "the new one is sent")


async def test_partitions_without_a_place_for_outcomes_wait_and_hold_up_no_others() -> None:
    engine = Engine(kafka=MemoryKafka(partitions=2, outcome_partitions=1))
    new = TopicPartition(NAMES.main, 1)

    async def publish_to(partition: int, address: str) -> None:
        value = f'{{"email":"{address}","code":"1234"}}'.encode()
        await engine.kafka.publish(NAMES.main, key=None, value=value, partition=partition)

    await publish_to(1, "new1@example.com")
    async with engine.running() as pump:
        await until(lambda: new in engine.source.paused, "the new partition waits")
        await publish_to(1, "new2@example.com")
        await publish_to(0, "old@example.com")
        await until(lambda: watermark(engine) == 1, "the old partition goes on")
        await engine.source.rebalance()  # what is read during it is kept
        await publish_to(0, "old2@example.com")
        await until(lambda: watermark(engine) == 2, "it still goes on")
        assert pump.is_ready
        assert engine.kafka.committed("mails", new) is None
        engine.kafka.outcome_partitions = None
        await until(lambda: len(engine.relay.sent) == 4, "the new partition's mails are sent")
    last = engine.kafka.committed("mails", new)
    assert last is not None
    assert last.offset == 2
    assert [each.recipient.local for each in engine.relay.sent][-2:] == ["new1", "new2"]


async def publish_originals(engine: Engine, *numbers: int, each_ms: int = 1_000) -> None:
    for number in numbers:
        engine.clock.advance(each_ms / 1000)
        value = f'{{"email":"user{number}@example.com","code":"1234"}}'.encode()
        await engine.kafka.publish(NAMES.main, key=None, value=value)


async def test_original_records_of_a_topic_that_was_made_again_are_all_sent() -> None:
    engine = Engine()
    await publish_originals(engine, 1, 2, 3)
    async with engine.running():
        await until(lambda: watermark(engine) == 3, "all is committed")
        engine.kafka.logs[MAIN].clear()
        engine.source._positions[MAIN] = 0  # noqa: SLF001 - as auto.offset.reset does
        await publish_originals(engine, 11, 12, 13, 14, 15)
        await until(lambda: len(engine.relay.sent) == 8, "the new ones are sent")


def commit_start(engine: Engine) -> None:
    """Leave the group where it was before anything of MAIN was handled."""
    start = encode_snapshot(Snapshot(0, frozenset(), 0))
    engine.kafka.commits.append(("mails", MAIN, start))


async def record_as_before(engine: Engine, outcome: Outcome, *, at_ms: int) -> None:
    """Record what a version that derived ids from the place alone recorded of MAIN's first."""
    event = StatusEvent(
        id=RecordOrigin(MAIN.topic, MAIN.partition, 0, 0).former_id,
        outcome=outcome,
        at=at_ms,
        attempt=1,
        purpose="unspecified",
        tier="10s" if outcome is Outcome.DEFERRED else None,
    )
    await engine.kafka.publish(NAMES.status, key=event.key, value=event.encode(), partition=0)


async def test_outcomes_that_an_earlier_version_recorded_prevent_second_copies() -> None:
    engine = Engine()
    await publish_originals(engine, 1, 2)
    await record_as_before(engine, Outcome.ACCEPTED, at_ms=engine.clock.now_ms())
    commit_start(engine)
    async with engine.running():
        await until(lambda: watermark(engine) == 2, "all is committed")
    assert [mail.recipient.local for mail in engine.relay.sent] == ["user2"]


async def test_a_deferral_of_an_earlier_version_goes_on_under_its_id() -> None:
    engine = Engine()
    await publish_originals(engine, 1)
    await record_as_before(engine, Outcome.DEFERRED, at_ms=engine.clock.now_ms())
    commit_start(engine)
    async with engine.running():
        await until(lambda: watermark(engine) == 1, "all is committed")
    assert engine.relay.sent == []
    (retry,) = engine.kafka.stored(NAMES.retries[0])
    engine.clock.advance(60)
    async with engine.running("retry"):
        await until(lambda: len(engine.relay.sent) == 1, "the retry is sent")
    assert {event.id for event in engine.events()} == {decode_headers(retry.headers).mail_id}


async def test_an_outcome_from_before_a_record_says_nothing_about_it() -> None:
    engine = Engine()
    await record_as_before(engine, Outcome.ACCEPTED, at_ms=engine.clock.now_ms())
    await publish_originals(engine, 1, each_ms=60_000)
    commit_start(engine)
    async with engine.running():
        await until(lambda: watermark(engine) == 1, "all is committed")
    assert len(engine.relay.sent) == 1


async def test_a_broker_that_is_away_at_the_assignment_is_waited_for() -> None:
    engine = Engine()
    await engine.publish()
    engine.kafka.available = False
    async with engine.running() as pump:
        assert not pump.is_ready
        engine.kafka.available = True
        await until(lambda: watermark(engine) == 1, "it is delivered")
        assert pump.is_ready


async def test_retry_topics_are_delivered_when_they_are_due_and_not_before() -> None:
    greylisted = DeliveryResult(ReplyClass.GREYLISTED, relay="a", phase="rcpt", smtp="451 4.7.1")
    engine = Engine(relay=MemoryRelay([greylisted, greylisted]))
    await engine.publish()
    async with engine.running(), engine.running("retry"):
        tier = TopicPartition("mails.retry.10s", 0)
        await until(lambda: tier in engine.retry_source.paused, "the record waits")
        assert len(engine.relay.sent) == 1
        engine.clock.advance(10)
        await until(lambda: len(engine.relay.sent) == 2, "the second attempt")
        await until(lambda: tier not in engine.retry_source.paused, "reading goes on")
        await until(lambda: engine.kafka.stored("mails.retry.1m"), "it waits in the next tier")
        engine.clock.advance(60)
        await until(lambda: engine.relay.accepted, "the third attempt")
        await until(lambda: len(engine.outcomes()) == 3, "three outcomes")
    assert engine.outcomes() == [Outcome.DEFERRED, Outcome.DEFERRED, Outcome.ACCEPTED]
    committed = engine.kafka.committed("mails.retry", TopicPartition("mails.retry.1m", 0))
    assert committed is not None
    assert committed.offset == 1


async def test_a_retry_that_waits_is_forgotten_at_a_rebalance_and_read_again() -> None:
    greylisted = DeliveryResult(ReplyClass.GREYLISTED, relay="a", phase="rcpt", smtp="451 4.7.1")
    engine = Engine(relay=MemoryRelay([greylisted]))
    await engine.publish()
    async with engine.running(), engine.running("retry"):
        await until(lambda: engine.retry_source.paused, "the record waits")
        await engine.retry_source.rebalance()
        await until(lambda: engine.retry_source.paused, "it waits again")
        engine.clock.advance(10)
        await until(lambda: engine.relay.accepted, "the second attempt")
        await until(lambda: not engine.retry_source.paused, "reading goes on")
    assert engine.outcomes() == [Outcome.DEFERRED, Outcome.ACCEPTED]
    skipped = OF_TOPIC | {"source": "ledger"}
    assert engine.registry.get_sample_value("mailtopic_replays_skipped_total", skipped) == 0


async def test_a_retry_that_was_stored_twice_is_sent_once() -> None:
    engine = Engine()
    mail_id = uuid4()
    await engine.publish(mail_id=mail_id)
    value = engine.kafka.stored(NAMES.main)[0].value
    headers = MailHeaders(mail_id=mail_id, attempt=2).encode()
    async with engine.running(), engine.running("retry"):
        await until(lambda: engine.relay.accepted, "the first record is sent")
        for _ in range(2):
            await engine.kafka.publish("mails.retry.10s", key=b"k", value=value, headers=headers)
        await until(lambda: engine.retry_source.paused, "both wait")
        engine.clock.advance(10)
        place = TopicPartition("mails.retry.10s", 0)

        def is_through() -> bool:
            committed = engine.kafka.committed("mails.retry", place)
            return committed is not None and committed.offset == 2

        await until(is_through, "both are committed")
    assert len(engine.relay.sent) == 1


async def test_order_is_kept_per_recipient() -> None:
    engine = Engine(kafka=MemoryKafka(), max_in_flight=8)
    for number in range(40):
        await engine.publish(f"u{number % 4}@example.com", purpose=f"p{number}")
    async with engine.running():
        await until(lambda: watermark(engine) == 40, "all is committed")
    for recipient in range(4):
        sent = [m for m in engine.relay.sent if m.recipient.local == f"u{recipient}"]
        numbers = [int(mail.purpose[1:]) for mail in sent]
        assert numbers == sorted(numbers)


async def test_intake_that_gets_room_again_soon_is_not_paused() -> None:
    # A pause throws away what was fetched ahead: under a backlog, megabytes for each few records.
    engine = Engine(max_in_flight=2, max_held_records=4, pause_after_s=5.0)
    engine.source = Pausing(engine.kafka, topics=[NAMES.main], group="mails")
    for number in range(200):
        await engine.publish(f"u{number}@example.com")
    async with engine.running():
        await until(lambda: watermark(engine) == 200, "all is committed")
    assert not engine.source.pauses
