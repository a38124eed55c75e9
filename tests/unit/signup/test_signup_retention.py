"""What goes when it has served its time, and what stays."""

from uuid import uuid4

import pytest
from sqlalchemy import Connection, func, insert, select

from mailtopic_signup.adapters.sql_tables import address_limits, challenges, outbox, users
from support.signup_service import Signup, make_known

WEEK_S = 604_800
DAY_S = 86_400
CODE_S = 600
TABLES = {"users": users, "limits": address_limits, "challenges": challenges, "outbox": outbox}


async def rows(signup: Signup) -> dict[str, int]:
    def count(connection: Connection) -> dict[str, int]:
        return {
            name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for name, table in TABLES.items()
        }

    return await signup.parts.database.read(count)


async def test_nothing_goes_before_its_time_and_everything_after(signup: Signup) -> None:
    await signup.begin()
    signup.clock.advance(WEEK_S)
    await signup.parts.house.purge()
    assert await rows(signup) == {"users": 1, "limits": 1, "challenges": 1, "outbox": 1}
    # An address's counts stay until its code has ended as long ago.
    signup.clock.advance(CODE_S + 1)
    await signup.parts.house.purge()
    # The mail was never published, and what wasn't published is never deleted.
    assert await rows(signup) == {"users": 0, "limits": 0, "challenges": 0, "outbox": 1}


async def test_a_confirmed_user_stays_and_is_known_after_its_challenge_went(
    signup: Signup,
) -> None:
    await make_known(signup, "known@example.com")
    signup.clock.advance(WEEK_S + CODE_S + 1)
    await signup.parts.house.purge()
    assert await rows(signup) == {"users": 1, "limits": 0, "challenges": 0, "outbox": 1}
    await signup.begin("known@example.com")
    assert (await signup.mails())[-1].purpose == "account-exists"


async def test_a_challenge_keeps_its_user_and_the_counts_of_its_address(signup: Signup) -> None:
    await signup.begin()
    signup.clock.advance(WEEK_S - DAY_S)
    challenge = await signup.begin("anna@Example.COM")
    wrong = await signup.wrong_code()
    for _ in range(3):
        await signup.verify(challenge, wrong)
    signup.clock.advance(DAY_S)
    signup.clock.advance(1)
    await signup.parts.house.purge()
    assert await rows(signup) == {"users": 1, "limits": 1, "challenges": 1, "outbox": 2}
    assert (await signup.post(f"/v1/signups/{challenge}/resend")).status_code == 410


@pytest.mark.parametrize("seconds", [0, 3600, DAY_S - 1])
async def test_no_purge_gives_an_address_a_short_code_before_its_time(
    signup: Signup, seconds: int
) -> None:
    await signup.begin()
    signup.clock.advance(CODE_S + seconds)
    await signup.parts.house.purge()
    await signup.begin()
    assert len(await signup.code()) == 16


async def test_more_rows_than_one_transaction_may_hold_go_as_well(signup: Signup) -> None:
    count = 2500
    never = {"created_at": 0, "verified_at": None}
    added = [
        {"id": uuid4(), "address": f"u{number}@example.com", **never} for number in range(count)
    ]
    await signup.parts.database.write(lambda c: c.execute(insert(users), added))
    assert await signup.parts.house.purge() == count
    assert (await rows(signup))["users"] == 0
