"""An attacker of an address's codes, and the address's owner, over the real service."""

from dataclasses import dataclass, field
from random import Random

import httpx
from sqlalchemy import Connection, select

from mailtopic_contract import open_variables, parse_address
from mailtopic_signup.adapters.sql_tables import address_limits
from mailtopic_signup.domain.mailbox import mailbox_key
from support.signup_service import Signup

DAY_S = 86_400
LONG = 16


async def short_code_works(signup: Signup, address: str) -> bool:
    """Whether some challenge of the address could be confirmed with a short code now."""
    limits = address_limits.c
    wanted = select(limits.short_for, limits.short_until).where(
        limits.address_key == mailbox_key(parse_address(address))
    )

    def read(connection: Connection) -> bool:
        row = connection.execute(wanted).one_or_none()
        return row is not None and row.short_for and row.short_until > signup.clock.now_ms()

    return bool(await signup.parts.database.read(read))


async def mailed_codes(signup: Signup, address: str) -> list[str]:
    """The codes of an address's mails, the oldest first."""
    mails = [mail for mail in await signup.mails() if mail.email.lower() == address.lower()]
    codes = [open_variables(mail, signup.keyring).get("code") for mail in mails]
    return [code for code in codes if code]


@dataclass
class Stranger:
    """Guesses codes that are wrong, and notes when a guess could have been right.

    To be wrong on purpose makes the count exact; whether a code is right isn't known before.
    ``networks`` are how many addresses of IPv4 requests come from, in turn.
    """

    signup: Signup
    victim: str
    networks: int = 1
    dice: Random = field(default_factory=lambda: Random(7))  # noqa: S311 - to be repeatable
    challenges: list[str] = field(default_factory=list)
    judged_s: list[float] = field(default_factory=list)
    """When a guess at a short code was looked at, while one worked."""
    _requests: int = 0

    async def post(self, path: str, body: object = None) -> httpx.Response:
        self._requests += 1
        number = self._requests % self.networks
        client = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        return await self.signup.post(path, body, x_forwarded_for=client)

    async def begin(self, address: str | None = None) -> None:
        answer = await self.post("/v1/signups", {"email": address or self.victim})
        if answer.status_code == 202:
            self.challenges.append(answer.json()["challenge_id"])

    async def resend(self, challenge: str) -> None:
        await self.post(f"/v1/signups/{challenge}/resend")

    async def guess(self, challenge: str, *, length: int = 6) -> int:
        """Try a wrong code; returns the status."""
        code = await self._wrong(length)
        could_be_right = length != LONG and await short_code_works(self.signup, self.victim)
        answer = await self.post(f"/v1/signups/{challenge}/verify", {"code": code})
        assert answer.status_code in {410, 422, 429}, answer.text
        if answer.status_code == 422 and could_be_right:
            self.judged_s.append(self.signup.clock.monotonic_s())
        return answer.status_code

    async def spend(self) -> None:
        """Try short codes in the newest challenges until nothing looks at them any more."""
        for challenge in self.challenges[-3:]:
            for _ in range(6):
                if await self.guess(challenge) != 422:
                    break

    def most_in_a_day(self) -> int:
        """How many guesses that could have been right any 24 hours held."""
        spans = [(start, start + DAY_S) for start in self.judged_s]
        return max((sum(a <= time < b for time in self.judged_s) for a, b in spans), default=0)

    async def _wrong(self, length: int) -> str:
        codes = await mailed_codes(self.signup, self.victim)
        while True:
            code = f"{self.dice.randrange(10**length):0{length}}"
            if code not in codes:
                return code


@dataclass
class Person:
    """Does what the page says: types the newest mail's code, or asks for one when there is none."""

    signup: Signup
    address: str
    client: str = "192.0.2.1"
    challenge: str = ""
    typed: set[str] = field(default_factory=set)

    async def post(self, path: str, body: object = None) -> httpx.Response:
        return await self.signup.post(path, body, x_forwarded_for=self.client)

    async def begin(self) -> None:
        answer = await self.post("/v1/signups", {"email": self.address})
        assert answer.status_code == 202, answer.text
        self.challenge = answer.json()["challenge_id"]

    async def type_newest(self) -> int | None:
        """Type the newest mail's code, if it wasn't typed before; returns the status."""
        codes = await mailed_codes(self.signup, self.address)
        if not codes or codes[-1] in self.typed:
            return None
        self.typed.add(codes[-1])
        path = f"/v1/signups/{self.challenge}/verify"
        return (await self.post(path, {"code": codes[-1]})).status_code

    async def resend(self) -> int:
        return (await self.post(f"/v1/signups/{self.challenge}/resend")).status_code
