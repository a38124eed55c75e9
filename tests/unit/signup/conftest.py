"""A signup service without sockets: its real application and database, a broker in memory."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from mailtopic_client import KafkaSettings, MemoryBroker
from mailtopic_contract import KeyRing
from mailtopic_runtime import ManualClock
from mailtopic_signup.bootstrap import assemble
from mailtopic_signup.settings import (
    ClientsSettings,
    DatabaseSettings,
    MailsSettings,
    PepperSettings,
    SealingSettings,
    SignupSettings,
)
from support.signup_service import PEPPERS, ServiceTokens, Signup


@pytest.fixture
def tokens() -> ServiceTokens:
    return ServiceTokens.make()


@pytest.fixture
def settings(tmp_path: Path, tokens: ServiceTokens) -> SignupSettings:
    (tmp_path / "tokens.json").write_text(tokens.file)
    (tmp_path / "peppers.json").write_text(json.dumps(PEPPERS))
    (tmp_path / "keys.json").write_text(KeyRing.generate().dump())
    return SignupSettings(
        topic="mails",
        kafka=KafkaSettings(bootstrap_servers=("127.0.0.1:1",)),
        pepper=PepperSettings(keys_file=tmp_path / "peppers.json"),
        sealing=SealingSettings(keys_file=tmp_path / "keys.json"),
        mails=MailsSettings(tokens_file=tmp_path / "tokens.json"),
        # All of a test's people are one client.
        clients=ClientsSettings(signups_per_minute=0, verifies_per_five_minutes=0),
        # Tests don't cut the power.
        database=DatabaseSettings(
            url=SecretStr(f"sqlite:///{tmp_path}/signup.db"), synchronous="NORMAL"
        ),
    )


@pytest.fixture
async def signup(settings: SignupSettings) -> AsyncIterator[Signup]:
    clock, broker = ManualClock(), MemoryBroker()
    parts = assemble(settings, clock, broker)
    await parts.database.prepare()
    assert settings.sealing.keys_file
    keyring = KeyRing.load(settings.sealing.keys_file)
    transport = httpx.ASGITransport(parts.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://signup.test") as client:
        yield Signup(settings, parts, client, clock, broker, keyring)
    await parts.database.close()
