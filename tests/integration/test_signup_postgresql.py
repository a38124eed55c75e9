"""The signup service on a real PostgreSQL."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import Connection, inspect, text

from mailtopic_client import KafkaSettings, MemoryBroker
from mailtopic_contract import KeyRing
from mailtopic_runtime import ManualClock
from mailtopic_signup.adapters.sql_database import Database
from mailtopic_signup.adapters.sql_tables import metadata
from mailtopic_signup.bootstrap import assemble
from mailtopic_signup.settings import (
    ClientsSettings,
    DatabaseSettings,
    PepperSettings,
    SealingSettings,
    SignupSettings,
)
from support.postgresql import PASSWORD, PostgreSQL, running_postgresql
from support.signup_service import PEPPERS, Signup

PROCESSES = 4
T = TypeVar("T")


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgreSQL]:
    yield from running_postgresql("integration")


@pytest.fixture
def url(postgresql: PostgreSQL) -> str:
    return postgresql.new_database()


@pytest.fixture
async def signup(url: str, tmp_path: Path) -> AsyncIterator[Signup]:
    """A service whose pods may not touch the tables, after the command that does."""
    assert (await migrate(url))[0] == 0
    keyring = KeyRing.generate()
    (tmp_path / "peppers.json").write_text(json.dumps(PEPPERS))
    (tmp_path / "keys.json").write_text(keyring.dump())
    settings = SignupSettings(
        topic="mails",
        kafka=KafkaSettings(bootstrap_servers=("127.0.0.1:1",)),
        pepper=PepperSettings(keys_file=tmp_path / "peppers.json"),
        sealing=SealingSettings(keys_file=tmp_path / "keys.json"),
        database=DatabaseSettings(url=SecretStr(url), migrate=False),
        # All of a test's people are one client.
        clients=ClientsSettings(signups_per_minute=0, verifies_per_five_minutes=0),
    )
    clock, broker = ManualClock(), MemoryBroker()
    parts = assemble(settings, clock, broker)
    await parts.database.prepare()
    transport = httpx.ASGITransport(parts.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://signup.test") as client:
        yield Signup(settings, parts, client, clock, broker, keyring)
    await parts.database.close()


async def test_an_address_is_confirmed(signup: Signup) -> None:
    challenge_id = await signup.begin()
    code = await signup.code()
    assert (await signup.verify(challenge_id, await signup.wrong_code())).status_code == 422
    assert (await signup.verify(challenge_id, code)).json()["state"] == "verified"
    assert (await signup.verify(challenge_id, code)).status_code == 409


async def test_publishers_that_lease_at_the_same_time_never_get_the_same_mail(
    signup: Signup,
) -> None:
    for number in range(60):
        await signup.begin(f"a{number}@example.com")
    now_ms = signup.clock.now_ms()
    batches = await asyncio.gather(
        *(signup.parts.outbox.lease(limit=20, now_ms=now_ms, lease_ms=60_000) for _ in range(4))
    )
    leased = [each.mail.id for batch in batches for each in batch]
    assert len(leased) == len(set(leased)) == 60


async def test_several_processes_may_bring_the_tables_up_to_date_at_the_same_time(url: str) -> None:
    ended = await asyncio.gather(*(migrate(url) for _ in range(PROCESSES)))
    assert [code for code, _ in ended] == [0] * PROCESSES
    assert await within(url, tables) == {*metadata.tables, "alembic_version"}


async def test_tables_of_a_newer_version_stay_as_they_are(url: str) -> None:
    await migrate(url)
    await within(url, lambda c: c.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    assert (await migrate(url))[0] == 0
    assert await within(url, version) == "9999"


@pytest.mark.parametrize("wrong", ["password", "database"])
async def test_a_url_that_postgresql_refuses_is_named_in_one_line(
    postgresql: PostgreSQL, wrong: str
) -> None:
    url = postgresql.url("postgres", "wrong") if wrong == "password" else postgresql.url("none")
    code, written = await migrate(url)
    assert code == 2
    line = written.splitlines()[-1]
    assert line.startswith("mailtopic-signup migrate: MAILTOPIC_DATABASE__URL: ")
    assert "Traceback" not in written
    assert PASSWORD not in written


async def migrate(url: str) -> tuple[int, str]:
    """Run the command; returns its exit code and all that it wrote."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mailtopic_signup", "migrate"),
        env=os.environ | {"MAILTOPIC_DATABASE__URL": url},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def within(url: str, work: Callable[[Connection], T]) -> T:
    """Do something in a transaction of its own."""
    database = Database(DatabaseSettings(url=SecretStr(url), migrate=False))
    await database.prepare()
    try:
        return await database.write(work)
    finally:
        await database.close()


def tables(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names())


def version(connection: Connection) -> str:
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
    return str(found)
