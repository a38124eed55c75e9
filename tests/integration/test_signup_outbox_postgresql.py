"""The outbox on PostgreSQL, where transactions really run side by side."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from mailtopic_client import MemoryBroker
from mailtopic_contract import decode_headers
from mailtopic_signup.adapters import sql_database
from mailtopic_signup.adapters.sql_database import Database
from mailtopic_signup.adapters.sql_outbox import SqlOutbox
from mailtopic_signup.metrics import SignupMetrics
from mailtopic_signup.publisher import Publisher
from mailtopic_signup.settings import DatabaseSettings, SignupSettings
from support.conditions import until
from support.postgresql import PostgreSQL, running_postgresql
from support.signup_service import ServiceTokens, Signup, running_signup, signup_settings

LEASE_MS = 15_000
# What Debezium's outbox event router reads, and what our publisher needs beside it.
COLUMNS = {"id", "aggregatetype", "aggregateid", "type", "payload"}
OURS = {"topic", "created_at", "expires_at", "traceparent", "lease_until", "attempts"}


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgreSQL]:
    yield from running_postgresql("integration")


@pytest.fixture
def settings(postgresql: PostgreSQL, tmp_path: Path) -> SignupSettings:
    url = SecretStr(postgresql.new_database())
    return signup_settings(tmp_path, ServiceTokens.make(), DatabaseSettings(url=url))


@pytest.fixture
async def signup(settings: SignupSettings) -> AsyncIterator[Signup]:
    async with running_signup(settings) as service:
        yield service


@asynccontextmanager
async def own_connection(signup: Signup) -> AsyncIterator[AsyncConnection]:
    """A connection outside of the service, in a transaction."""
    assert signup.settings.database.url
    url = make_url(signup.settings.database.url.get_secret_value())
    engine = create_async_engine(url.set(drivername="postgresql+asyncpg"))
    async with engine.connect() as connection:
        yield connection
    await engine.dispose()


async def lease(signup: Signup, limit: int = 1000) -> list[int]:
    """Lease what is free; returns the leased mails' times."""
    now_ms = signup.clock.now_ms()
    leased = await signup.parts.outbox.lease(limit=limit, now_ms=now_ms, lease_ms=LEASE_MS)
    return [each.mail.created_at for each in leased]


async def test_a_mail_whose_transaction_commits_late_is_not_skipped(signup: Signup) -> None:
    early_ms = signup.clock.now_ms()
    await signup.begin("early@example.com")
    async with own_connection(signup) as late:
        # The first mail's transaction, as it was before its commit.
        await late.execute(text("CREATE TABLE copy AS TABLE outbox"))
        await late.execute(text("DELETE FROM outbox"))
        await late.commit()
        await late.execute(text("INSERT INTO outbox SELECT * FROM copy"))
        for number in range(5):
            signup.clock.advance(1)
            await signup.begin(f"a{number}@example.com")
        assert len(await lease(signup)) == 5
        assert await lease(signup) == []
        await late.commit()
    assert await lease(signup) == [early_ms]


async def test_a_lease_passes_over_rows_that_somebody_is_at_and_waits_for_nobody(
    signup: Signup,
) -> None:
    for number in range(4):
        signup.clock.advance(1)
        await signup.begin(f"a{number}@example.com")
    async with own_connection(signup) as other:
        held = "SELECT id FROM outbox ORDER BY created_at LIMIT 2 FOR UPDATE"
        await other.execute(text(held))
        assert len(await asyncio.wait_for(lease(signup), 10)) == 2
        await other.rollback()
    assert len(await lease(signup)) == 2


async def test_what_crashed_publishers_held_is_taken_over_in_order_and_once(
    signup: Signup,
) -> None:
    for number in range(12):
        signup.clock.advance(1)
        await signup.begin(f"a{number}@example.com")
    taken = [time for _ in range(3) for time in await lease(signup, 4)]  # three that die now
    assert len(set(taken)) == 12
    signup.clock.advance(LEASE_MS / 1000 - 1)
    assert await lease(signup) == []
    signup.clock.advance(1)
    again = await asyncio.gather(*(lease(signup, 3) for _ in range(4)))
    assert sorted(time for batch in again for time in batch) == sorted(taken)
    assert all(batch == sorted(batch) for batch in again)


async def test_many_publishers_side_by_side_publish_every_mail_once(signup: Signup) -> None:
    databases = [Database(signup.settings.database) for _ in range(4)]
    publishers = []
    for database in databases:
        await database.prepare()
        metrics = SignupMetrics(CollectorRegistry())
        publishers.append(
            Publisher(
                SqlOutbox(database),
                signup.broker,
                batch_size=5,
                lease_s=LEASE_MS / 1000,
                poll_s=0.01,
                clock=signup.clock,
                metrics=metrics,
                topic=signup.settings.topic,
            )
        )
    running = [asyncio.create_task(publisher.run()) for publisher in publishers]
    for first in range(0, 200, 20):
        numbers = range(first, first + 20)
        await asyncio.gather(*(signup.begin(f"a{number}@example.com") for number in numbers))

    async def is_empty() -> bool:
        return (await signup.parts.outbox.backlog()).pending == 0

    await until(is_empty, "the outbox is empty")
    for publisher in publishers:
        publisher.stop()
    await asyncio.gather(*running)
    for database in databases:
        await database.close()
    broker = signup.broker
    assert isinstance(broker, MemoryBroker)
    copies = Counter(decode_headers(record.headers).mail_id for record in broker.records)
    assert Counter(copies.values()) == {1: 200}


async def test_a_key_that_another_process_is_at_gets_409(signup: Signup) -> None:
    body = {"email": "anna@example.com"}
    first = await signup.post("/v1/signups", body, idempotency_key="k-1")
    async with own_connection(signup) as other:
        lock = "SELECT pg_advisory_xact_lock(hashtextextended(key, 0)) FROM idempotent_answers"
        await other.execute(text(lock))
        busy = await signup.post("/v1/signups", body, idempotency_key="k-1")
        assert busy.status_code == 409
        assert busy.json()["type"].endswith("in-flight")
        await other.rollback()
    again = await signup.post("/v1/signups", body, idempotency_key="k-1")
    assert again.content == first.content


async def test_a_database_that_does_not_answer_in_time_is_unavailable_and_recovers(
    signup: Signup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_database, "ANSWER_TIMEOUT_S", 0.5)
    body = {"email": "anna@example.com"}
    async with own_connection(signup) as other:
        await other.execute(text("LOCK TABLE outbox, challenges IN ACCESS EXCLUSIVE MODE"))
        # More requests than connections: none of them keeps one.
        answers = await asyncio.gather(*(signup.post("/v1/signups", body) for _ in range(8)))
        assert {answer.status_code for answer in answers} == {503}
        assert (await signup.client.get("/readyz")).status_code == 503
        await other.rollback()
    monkeypatch.undo()
    assert (await signup.post("/v1/signups", body)).status_code == 202
    assert len(await signup.mails()) == 1


async def test_debezium_could_take_the_publishers_place(signup: Signup) -> None:
    await signup.begin()
    async with own_connection(signup) as connection:
        (row,) = (await connection.execute(text("SELECT * FROM outbox"))).mappings()
    assert COLUMNS | OURS | {"published_at"} == set(row)
    (mail,) = await signup.mails()
    # The router makes id a header, aggregateid the key and payload the value.
    assert row["id"] == mail.id
    assert row["aggregateid"].encode() == mail.address.partition_key
    assert row["payload"] == mail.encode()
