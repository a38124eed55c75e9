"""Groups of signups of two processes, on PostgreSQL, where they really run side by side."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from mailtopic_signup.settings import DatabaseSettings
from support.postgresql import PostgreSQL, running_postgresql
from support.signup_service import ServiceTokens, running_signup, signup_settings


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgreSQL]:
    yield from running_postgresql("integration")


async def test_groups_of_the_same_addresses_in_any_order_never_wait_in_a_circle(
    postgresql: PostgreSQL, tmp_path: Path
) -> None:
    database = DatabaseSettings(url=SecretStr(postgresql.new_database()))
    settings = signup_settings(tmp_path, ServiceTokens.make(), database)
    addresses = [f"user{number}@example.com" for number in range(60)]
    async with running_signup(settings) as first, running_signup(settings) as second:
        for _ in range(5):
            # PostgreSQL ends one of two transactions that wait for each other; that would be a 503.
            challenges = await asyncio.gather(
                *(first.begin(address) for address in addresses),
                *(second.begin(address) for address in reversed(addresses)),
            )
            assert len(set(challenges)) == 120
        mails = await first.mails()
    assert sorted(mail.email for mail in mails) == sorted(addresses)
