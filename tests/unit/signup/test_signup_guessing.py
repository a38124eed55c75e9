"""An attacker who guesses, with everything that the API and the Internet allow.

NIST SP 800-63B §3.2.2 wants failures limited by account, and forbids that anything the guesser does
resets the count. With six digits and ten tries a day, a year of guessing finds a code with a
probability of less than 0.4 %.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random

import pytest

from mailtopic_contract import open_variables
from support.signup_service import Signup

VICTIM = "victim@example.com"
DAY_S = 86_400
SPELLINGS = (VICTIM, "Victim@example.com", "VICTIM@EXAMPLE.COM", "victim@Example.com")


@dataclass
class Attacker:
    """Tries codes that are wrong, and counts those that were looked at.

    To be wrong on purpose makes the count exact; whether a code is right isn't known before.
    """

    signup: Signup
    dice: Random = field(default_factory=lambda: Random(7))  # noqa: S311 - to be repeatable
    challenges: list[str] = field(default_factory=list)
    looked_at_s: list[float] = field(default_factory=list)

    async def post(self, path: str, body: object = None) -> tuple[int, dict[str, object]]:
        # No limit by client is set here: the attacker has as many networks as he likes.
        answer = await self.signup.post(path, body)
        return answer.status_code, answer.json()

    async def begin(self) -> None:
        status, body = await self.post("/v1/signups", {"email": self.dice.choice(SPELLINGS)})
        assert status == 202
        self.challenges.append(str(body["challenge_id"]))

    async def resend(self) -> None:
        await self.post(f"/v1/signups/{self.dice.choice(self.challenges)}/resend")

    async def guess(self, challenge: str) -> None:
        codes = {
            open_variables(mail, self.signup.keyring).get("code")
            for mail in await self.signup.mails()
        }
        code = self.wrong(codes)
        status, body = await self.post(f"/v1/signups/{challenge}/verify", {"code": code})
        assert status in {410, 422, 429}
        if status == 422:
            assert "tries_left" in body
            self.looked_at_s.append(self.signup.clock.monotonic_s())

    def wrong(self, codes: set[str | None]) -> str:
        code = f"{self.dice.randrange(10**6):06}"
        return self.wrong(codes) if code in codes else code

    def most_in_a_day(self) -> int:
        return max(
            sum(1 for time in self.looked_at_s if start <= time < start + DAY_S)
            for start in self.looked_at_s
        )


async def every_way_at_once(attacker: Attacker) -> None:
    for _ in range(4):
        await attacker.begin()
        await attacker.resend()
    newest = attacker.challenges[-12:]
    await asyncio.gather(*(attacker.guess(challenge) for challenge in newest for _ in range(2)))


async def one_after_the_other(attacker: Attacker) -> None:
    await attacker.begin()
    for _ in range(7):
        await attacker.guess(attacker.challenges[-1])
        await attacker.resend()


async def patiently(attacker: Attacker) -> None:
    await attacker.begin()
    await attacker.guess(attacker.challenges[-1])


@pytest.mark.parametrize("strategy", [every_way_at_once, one_after_the_other, patiently])
@pytest.mark.parametrize("pause_s", [61, 3 * 3600 + 7])
async def test_no_attacker_gets_more_than_ten_tries_a_day_and_address(
    signup: Signup, strategy: Callable[[Attacker], Awaitable[None]], pause_s: int
) -> None:
    attacker = Attacker(signup)
    began_s = signup.clock.monotonic_s()
    turns = 0
    while signup.clock.monotonic_s() - began_s < 4 * DAY_S and turns < 40:
        await strategy(attacker)
        signup.clock.advance(pause_s)
        turns += 1
    assert attacker.looked_at_s
    assert attacker.most_in_a_day() <= 10
    assert attacker.most_in_a_day() >= 8


async def test_the_owner_who_confirms_in_between_does_not_give_the_attacker_more(
    signup: Signup,
) -> None:
    """A success forgives the failures of an address: but only its owner can have one."""
    attacker = Attacker(signup)
    challenge = await signup.begin(VICTIM)
    code = await signup.code()
    await attacker.begin()
    for _ in range(5):
        await attacker.guess(attacker.challenges[-1])
    assert (await signup.verify(challenge, code)).status_code == 200
    # From now on the address is known: no challenge of it takes any code.
    signup.clock.advance(61)
    await attacker.begin()
    for _ in range(20):
        await attacker.guess(attacker.challenges[-1])
    codes = [open_variables(mail, signup.keyring).get("code") for mail in await signup.mails()]
    assert [c for c in codes if c] == [code]


async def test_other_addresses_are_not_locked_with_the_victim(signup: Signup) -> None:
    attacker = Attacker(signup)
    for _ in range(3):
        await one_after_the_other(attacker)
        signup.clock.advance(61)
    challenge = await signup.begin("other@example.com")
    assert (await signup.verify(challenge, await signup.code())).status_code == 200
