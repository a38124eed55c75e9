"""What holds on SQLite holds on PostgreSQL: the unit tests of the service, on a real server."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from importlib import import_module
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import Connection, delete

from mailtopic_signup.adapters.sql_database import Database
from mailtopic_signup.adapters.sql_tables import metadata
from mailtopic_signup.settings import DatabaseSettings, SignupSettings
from support.postgresql import PostgreSQL, running_postgresql
from support.signup_service import ServiceTokens, Signup, running_signup, signup_settings

MODULES = [
    f"unit.signup.{name}"
    for name in (
        "test_service_mails",
        "test_signup_group_commit",
        "test_signup_key_rotation",
        "test_signup_known_addresses",
        "test_signup_mail_caps",
        "test_signup_plans",
        "test_signup_problems",
        "test_signup_publisher",
        "test_signup_retention",
        "test_signup_routes",
        "test_signup_strangers",
        "test_suppressions",
    )
]
# They drop tables that the next test needs, have a service of their own, or never come as far as a
# database.
LEFT_OUT = {
    "test_where_the_next_mail_is_far_the_first_brings_a_long_code",
    "test_without_its_tables_the_service_is_unavailable_and_says_so",
    "test_no_body_whatever_makes_the_service_fail",
    "test_what_is_no_json_is_told_so",
    "test_a_wrong_field_is_named",
}
pytest.register_assert_rewrite(*MODULES)
for _module in map(import_module, MODULES):
    _tests = {name: each for name, each in vars(_module).items() if name.startswith("test_")}
    assert not _tests.keys() & globals().keys(), "two tests have one name"
    globals().update({name: each for name, each in _tests.items() if name not in LEFT_OUT})


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgreSQL]:
    yield from running_postgresql("integration")


@pytest.fixture(scope="module")
def url(postgresql: PostgreSQL) -> SecretStr:
    """The URL of a database with all tables."""
    url = SecretStr(postgresql.new_database())

    async def migrate() -> None:
        database = Database(DatabaseSettings(url=url))
        await database.prepare()
        await database.close()

    asyncio.run(migrate())
    return url


@pytest.fixture
def tokens() -> ServiceTokens:
    return ServiceTokens.make()


@pytest.fixture
def settings(url: SecretStr, tmp_path: Path, tokens: ServiceTokens) -> SignupSettings:
    return signup_settings(tmp_path, tokens, DatabaseSettings(url=url, migrate=False))


@pytest.fixture
async def signup(settings: SignupSettings) -> AsyncIterator[Signup]:
    async with running_signup(settings) as service:
        yield service
        await service.parts.database.write(empty)


def empty(connection: Connection) -> None:
    for table in reversed(metadata.sorted_tables):
        connection.execute(delete(table))
