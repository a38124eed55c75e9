"""A signup service without sockets, on SQLite."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from mailtopic_signup.settings import DatabaseSettings, SignupSettings
from support.signup_service import ServiceTokens, Signup, running_signup, signup_settings


@pytest.fixture
def tokens() -> ServiceTokens:
    return ServiceTokens.make()


@pytest.fixture
def settings(tmp_path: Path, tokens: ServiceTokens) -> SignupSettings:
    url = SecretStr(f"sqlite:///{tmp_path}/signup.db")
    # Tests don't cut the power.
    return signup_settings(tmp_path, tokens, DatabaseSettings(url=url, synchronous="NORMAL"))


@pytest.fixture
async def signup(settings: SignupSettings) -> AsyncIterator[Signup]:
    async with running_signup(settings) as service:
        yield service
