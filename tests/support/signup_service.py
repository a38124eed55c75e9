"""A signup service as tests see it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx
from sqlalchemy import Connection, select

from mailtopic_client import KafkaSettings, MemoryBroker
from mailtopic_contract import (
    KeyRing,
    LegacyDefaults,
    MailRecord,
    MailSeal,
    Outcome,
    RecordOrigin,
    decode_record,
    open_variables,
)
from mailtopic_runtime import ManualClock
from mailtopic_signup.adapters.sql_tables import metadata
from mailtopic_signup.bootstrap import Parts, assemble
from mailtopic_signup.domain.tokens import new_token
from mailtopic_signup.ports import Delivered
from mailtopic_signup.settings import (
    ClientsSettings,
    DatabaseSettings,
    MailsSettings,
    PepperSettings,
    SealingSettings,
    SignupSettings,
)

PEPPERS = {"active": "p1", "keys": {"p1": "c2VjcmV0IG9mIDMyIGJ5dGVzLCBub3QgbW9yZSE="}}


@dataclass(frozen=True, slots=True)
class ServiceTokens:
    """Tokens of two services: billing, in the middle of a rotation, and shop."""

    billing: str
    billing_new: str
    shop: str
    file: str

    @classmethod
    def make(cls) -> Self:
        made = [
            new_token("billing-1", ["receipts", "reminders"]),
            new_token("billing-2", ["receipts", "reminders"]),
            new_token("shop-1", ["orders"]),
        ]
        file = json.dumps({"tokens": [entry.as_json() for _, entry in made]})
        billing, billing_new, shop = (token for token, _ in made)
        return cls(billing, billing_new, shop, file)


def signup_settings(
    folder: Path, tokens: ServiceTokens, database: DatabaseSettings
) -> SignupSettings:
    """Settings with files of their own."""
    (folder / "tokens.json").write_text(tokens.file)
    (folder / "peppers.json").write_text(json.dumps(PEPPERS))
    (folder / "keys.json").write_text(KeyRing.generate().dump())
    return SignupSettings(
        topic="mails",
        kafka=KafkaSettings(bootstrap_servers=("127.0.0.1:1",)),
        pepper=PepperSettings(keys_file=folder / "peppers.json"),
        sealing=SealingSettings(keys_file=folder / "keys.json"),
        mails=MailsSettings(tokens_file=folder / "tokens.json"),
        # All of a test's people are one client.
        clients=ClientsSettings(signups_per_minute=0, verifies_per_five_minutes=0),
        database=database,
    )


@asynccontextmanager
async def running_signup(settings: SignupSettings) -> AsyncIterator["Signup"]:
    """A service without sockets: its real application and database, a broker in memory."""
    clock, broker = ManualClock(), MemoryBroker()
    parts = assemble(settings, clock, broker)
    await parts.database.prepare()
    assert settings.sealing.keys_file
    keyring = KeyRing.load(settings.sealing.keys_file)
    transport = httpx.ASGITransport(parts.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://signup.test") as client:
        yield Signup(settings, parts, client, clock, broker, keyring)
    await parts.database.close()


def mail_in(payload: bytes) -> MailRecord:
    origin = RecordOrigin("mails", 0, 0, 0)
    return decode_record(payload, origin=origin, legacy=LegacyDefaults("ru", 1))


@dataclass
class Signup:
    """What a test needs of the service."""

    settings: SignupSettings
    parts: Parts
    client: httpx.AsyncClient
    clock: ManualClock
    broker: MemoryBroker
    keyring: KeyRing

    async def post(self, path: str, body: Any = None, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.post(path, json=body, headers=named)

    async def begin(self, email: str = "anna@example.com") -> str:
        answer = await self.post("/v1/signups", {"email": email})
        assert answer.status_code == 202, answer.text
        challenge_id: str = answer.json()["challenge_id"]
        return challenge_id

    async def status(self, challenge_id: str) -> dict[str, Any]:
        answer = await self.client.get(f"/v1/signups/{challenge_id}")
        assert answer.status_code == 200
        found: dict[str, Any] = answer.json()
        return found

    async def verify(self, challenge_id: str, code: object) -> httpx.Response:
        return await self.post(f"/v1/signups/{challenge_id}/verify", {"code": code})

    async def mails(self) -> list[MailRecord]:
        """What waits in the outbox, without touching it: leases of no length."""
        now_ms = self.clock.now_ms()
        leased = await self.parts.outbox.lease(limit=1000, now_ms=now_ms, lease_ms=0)
        return [mail_in(each.mail.payload) for each in leased]

    @property
    def seal(self) -> MailSeal:
        """Opens the codes of the signups' own topic."""
        return MailSeal(self.keyring, self.settings.topic)

    async def code(self) -> str:
        """The code in the latest mail."""
        return open_variables((await self.mails())[-1], self.seal)["code"]

    async def stored(self) -> str:
        """All that is in the database, as text."""

        def read(connection: Connection) -> str:
            tables = metadata.tables.values()
            return "\n".join(
                str(row) for each in tables for row in connection.execute(select(each))
            )

        return await self.parts.database.read(read)

    async def wrong_code(self) -> str:
        code = await self.code()
        return f"{(int(code) + 1) % 10 ** len(code):0{len(code)}}"

    async def delivered(self) -> None:
        """Every mail so far was taken by its relay."""
        now_ms = self.clock.now_ms()
        mails = await self.mails()
        news = [Delivered(mail.id, Outcome.ACCEPTED, now_ms) for mail in mails]
        await self.parts.deliveries.record(news)


async def make_known(signup: Signup, address: str) -> str:
    """Confirm an address, and let its cooldown pass; returns the user's id."""
    challenge = await signup.begin(address)
    verified = await signup.verify(challenge, await signup.code())
    assert verified.status_code == 200, verified.text
    signup.clock.advance(60)
    return str(verified.json()["user_id"])
