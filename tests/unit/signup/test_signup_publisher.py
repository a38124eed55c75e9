"""The publisher: what leaves the outbox, how often, and under which id."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import Connection

from mailtopic_client import (
    BrokerClient,
    MemoryBroker,
    OutgoingRecord,
    RecordMetadata,
    RecordRefused,
)
from mailtopic_client.ports import HeaderList
from mailtopic_contract import MailHeaders, TraceContext, decode_headers
from mailtopic_runtime import Clock
from mailtopic_signup.adapters.sql_database import Database
from mailtopic_signup.adapters.sql_outbox import SqlOutbox
from mailtopic_signup.metrics import SignupMetrics
from mailtopic_signup.ports import LeasedMail, OutboxStore
from mailtopic_signup.publisher import Publisher
from mailtopic_signup.publishers import Publishers
from support.conditions import until
from support.signup_service import Signup, mail_in

LEASE_S = 15.0


def make_publisher(
    outbox: OutboxStore, broker: BrokerClient, clock: Clock, batch_size: int = 500
) -> Publisher:
    metrics = SignupMetrics(CollectorRegistry())
    return Publisher(
        outbox,
        broker,
        batch_size=batch_size,
        lease_s=LEASE_S,
        poll_s=0.02,
        clock=clock,
        metrics=metrics,
    )


@asynccontextmanager
async def running(*publishers: Publisher | Publishers) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(publisher.run()) for publisher in publishers]
    try:
        yield
    finally:
        for publisher in publishers:
            publisher.stop()
        await asyncio.gather(*tasks)


def ids_of(broker: MemoryBroker) -> list[UUID | None]:
    return [decode_headers(record.headers).mail_id for record in broker.records]


async def begin_many(signup: Signup, count: int) -> None:
    for number in range(count):
        await signup.begin(f"user{number}@example.com")


async def pending(signup: Signup) -> int:
    return (await signup.parts.outbox.backlog()).pending


async def lease(signup: Signup, limit: int = 100) -> list[LeasedMail]:
    now_ms = signup.clock.now_ms()
    lease_ms = round(LEASE_S * 1000)
    return list(await signup.parts.outbox.lease(limit=limit, now_ms=now_ms, lease_ms=lease_ms))


async def empty(signup: Signup) -> None:
    async def is_empty() -> bool:
        return await pending(signup) == 0

    await until(is_empty, "the outbox is empty")


async def test_a_mail_is_published_with_its_key_id_time_and_trace(signup: Signup) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    await signup.post("/v1/signups", {"email": "anna@example.com"}, traceparent=trace)
    async with running(signup.parts.publisher):
        await empty(signup)
    (record,) = signup.broker.stored("mails")
    assert record.value
    mail = mail_in(record.value)
    headers = decode_headers(record.headers)
    assert record.key == mail.address.partition_key
    assert (headers.mail_id, headers.trace) == (mail.id, TraceContext(trace))
    assert record.timestamp_ms == mail.accepted_at == signup.clock.now_ms()


async def test_a_new_signup_wakes_the_publisher(signup: Signup) -> None:
    publisher = signup.parts.publisher  # polls once a second
    async with running(publisher):
        await until(lambda: signup.broker.connected, "the broker is connected")
        await begin_many(signup, 1)
        await until(lambda: signup.broker.records, "the mail is published")


async def test_two_publishers_publish_every_mail_once_while_leases_hold(signup: Signup) -> None:
    await begin_many(signup, 60)
    other = Database(signup.settings.database)
    await other.prepare()
    publishers = [
        make_publisher(outbox, signup.broker, signup.clock, batch_size=7)
        for outbox in (signup.parts.outbox, SqlOutbox(other))
    ]
    async with running(*publishers):
        await empty(signup)
    await other.close()
    assert Counter(Counter(ids_of(signup.broker)).values()) == {1: 60}


async def test_leases_do_not_overlap_and_end(signup: Signup) -> None:
    await begin_many(signup, 5)
    first, second = await lease(signup, 3), await lease(signup, 3)
    assert len(first) == 3
    assert len(second) == 2
    assert not {each.mail.id for each in first} & {each.mail.id for each in second}
    assert await lease(signup) == []
    signup.clock.advance(LEASE_S)
    again = await lease(signup)
    assert [each.attempts for each in again] == [2] * 5


async def test_a_crash_between_publish_and_mark_repeats_the_same_id(signup: Signup) -> None:
    await begin_many(signup, 1)
    (leased,) = await lease(signup)
    mail = leased.mail
    headers = MailHeaders(mail_id=mail.id).encode()
    await signup.broker.publish(
        mail.topic, key=mail.key.encode(), value=mail.payload, headers=headers
    )
    # Here the process dies. Another one can't take the mail over before the lease ends.
    async with running(make_publisher(signup.parts.outbox, signup.broker, signup.clock)):
        signup.clock.advance(LEASE_S)
        await empty(signup)
    assert ids_of(signup.broker) == [mail.id, mail.id]
    assert signup.broker.records[0].value == signup.broker.records[1].value


async def test_a_clock_that_was_set_back_does_not_strand_a_lease(signup: Signup) -> None:
    await begin_many(signup, 1)
    assert len(await lease(signup)) == 1
    signup.clock.advance(-3600)
    assert len(await lease(signup)) == 1


async def test_who_waited_for_the_database_respects_a_lease_taken_meanwhile(
    signup: Signup,
) -> None:
    await begin_many(signup, 1)
    began_ms, lease_ms = signup.clock.now_ms(), round(LEASE_S * 1000)
    signup.clock.advance(3)
    assert len(await lease(signup)) == 1
    late = await signup.parts.outbox.lease(limit=9, now_ms=began_ms, lease_ms=lease_ms)
    assert list(late) == []


async def test_a_late_postponement_leaves_anothers_lease_alone(signup: Signup) -> None:
    await begin_many(signup, 1)
    lost = await lease(signup)
    signup.clock.advance(LEASE_S)
    assert len(await lease(signup)) == 1
    await signup.parts.outbox.postpone(lost, until_ms=signup.clock.now_ms())
    assert await lease(signup) == []


async def test_while_the_broker_is_away_signups_go_on_and_their_mails_follow(
    signup: Signup,
) -> None:
    signup.broker.available = False
    publisher = make_publisher(signup.parts.outbox, signup.broker, signup.clock)
    async with running(publisher):
        await begin_many(signup, 3)
        await until(lambda: publisher.problem, "the publisher noticed")
        assert (await signup.client.get("/readyz")).status_code == 200
        await begin_many(signup, 3)
        signup.broker.available = True

        async def is_empty() -> bool:
            signup.clock.advance(1)
            return await pending(signup) == 0

        await until(is_empty, "all mails are published")
        await until(lambda: publisher.problem is None, "the publisher is well again")
    assert Counter(ids_of(signup.broker)).most_common(1)[0][1] == 1
    assert len(signup.broker.records) == 3  # the second three were cooling: same addresses


async def test_an_expired_mail_is_published_so_that_its_outcome_is_recorded(
    signup: Signup,
) -> None:
    await begin_many(signup, 1)
    signup.clock.advance(3600)
    async with running(signup.parts.publisher):
        await empty(signup)
    assert len(signup.broker.records) == 1


class PartlyRefusing(MemoryBroker):
    """A broker without a certain topic."""

    async def publish(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: HeaderList = (),
        partition: int | None = None,
        timestamp_ms: int | None = None,
    ) -> RecordMetadata:
        if not self.available:
            raise RecordRefused("unknown-topic", "the topic does not exist")
        return await super().publish(
            topic,
            key=key,
            value=value,
            headers=headers,
            partition=partition,
            timestamp_ms=timestamp_ms,
        )

    async def partitions_for(self, topic: str, keys: Sequence[bytes]) -> list[int]:
        if not self.available:
            raise RecordRefused("unknown-topic", "the topic does not exist")
        return await super().partitions_for(topic, keys)


async def test_a_topic_that_does_not_exist_yet_is_waited_for(signup: Signup) -> None:
    broker = PartlyRefusing(available=False)
    publisher = make_publisher(signup.parts.outbox, broker, signup.clock)
    await begin_many(signup, 2)
    async with running(publisher):
        await until(lambda: publisher.problem == "the topic does not exist", "it noticed")
        broker.available = True

        async def is_empty() -> bool:
            signup.clock.advance(1)
            return await pending(signup) == 0

        await until(is_empty, "all mails are published")
    assert len(broker.records) == 2


class SlowOutbox(SqlOutbox):
    """An outbox whose first lease is over, and somebody else's, before its taker hears of it."""

    def __init__(self, signup: Signup, database: Database) -> None:
        super().__init__(database)
        self.signup = signup
        self.leases = 0
        self.taken_over = 0

    async def lease(
        self, *, limit: int, now_ms: int, lease_ms: int, topic: str | None = None
    ) -> Sequence[LeasedMail]:
        leased = await super().lease(limit=limit, now_ms=now_ms, lease_ms=lease_ms, topic=topic)
        self.leases += 1
        if self.leases == 1:
            self.signup.clock.advance(LEASE_S)
            self.taken_over = len(await lease(self.signup))
        return leased


async def test_who_waited_for_longer_than_its_lease_publishes_nothing(signup: Signup) -> None:
    await begin_many(signup, 3)
    outbox = SlowOutbox(signup, signup.parts.database)
    async with running(make_publisher(outbox, signup.broker, signup.clock)):
        await until(lambda: outbox.leases >= 3, "it looked again")
    assert outbox.taken_over == 3
    assert ids_of(signup.broker) == []


class Picky(MemoryBroker):
    """A broker with one partition that refuses the second of all records."""

    def __init__(self) -> None:
        super().__init__(partitions=1)
        self.refused: bytes | None = None
        self.batches: list[int] = []

    async def publish_batch(
        self, topic: str, partition: int, records: Sequence[OutgoingRecord]
    ) -> Sequence[int]:
        self.batches.append(len(records))
        if self.refused is None:
            self.refused = records[1].value
        if self.refused in {record.value for record in records}:
            raise RecordRefused("too-large", "the record is larger than its topic allows")
        return await super().publish_batch(topic, partition, records)


async def test_what_waits_for_a_partition_is_published_together_up_to_a_size(
    signup: Signup,
) -> None:
    broker = Picky()
    broker.refused = b"nothing"
    await begin_many(signup, 300)
    async with running(make_publisher(signup.parts.outbox, broker, signup.clock)):
        await empty(signup)
    assert len(ids_of(broker)) == 300
    assert 2 <= len(broker.batches) <= 4  # 300 mails are some 130 kB
    sizes = [len(record.value or b"") for record in broker.records]
    assert max(broker.batches) * sum(sizes) / 300 <= 65_536 * 1.01


async def test_a_mail_that_is_refused_holds_up_no_other(signup: Signup) -> None:
    broker = Picky()
    await begin_many(signup, 5)
    publisher = make_publisher(signup.parts.outbox, broker, signup.clock)
    async with running(publisher):

        async def is_alone() -> bool:
            return await pending(signup) == 1

        await until(is_alone, "all others are published")
        await until(lambda: publisher.problem, "it says so")
    assert len(set(ids_of(broker))) == 4
    assert broker.refused not in {record.value for record in broker.records}


class Stuck(MemoryBroker):
    """A broker that never acknowledges."""

    async def publish(self, *_arguments: object, **_record: object) -> RecordMetadata:
        await asyncio.get_running_loop().create_future()
        raise AssertionError


async def test_a_slow_broker_keeps_its_lease_and_a_cancelled_publisher_gives_it_back(
    signup: Signup,
) -> None:
    await begin_many(signup, 1)
    publisher = make_publisher(signup.parts.outbox, Stuck(), signup.clock)
    task = asyncio.create_task(publisher.run())

    async def held_until() -> int:
        def ask(connection: Connection) -> int:
            return connection.exec_driver_sql("SELECT lease_until FROM outbox").scalar_one() or 0

        return await signup.parts.database.read(ask)

    first = signup.clock.now_ms() + round(LEASE_S * 1000)

    async def is_leased() -> bool:
        return await held_until() == first

    await until(is_leased, "it is leased")
    signup.clock.advance(LEASE_S / 2)

    async def is_renewed() -> bool:
        return await held_until() > first

    await until(is_renewed, "the lease is renewed")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(await lease(signup)) == 1


async def test_published_mails_are_purged_after_their_retention(signup: Signup) -> None:
    await begin_many(signup, 2)
    (leased, _) = await lease(signup)
    outbox = signup.parts.outbox
    now_ms = signup.clock.now_ms()
    await outbox.mark_published([leased.mail.id], now_ms=now_ms)
    assert await outbox.purge(published_before_ms=now_ms, answers_before_ms=0) == 0
    assert await outbox.purge(published_before_ms=now_ms + 1, answers_before_ms=0) == 1
    assert await pending(signup) == 1
