"""The token of a relay, while its endpoint comes and goes."""

import asyncio

import pytest

from mailtopic_runtime import ManualClock
from mailtopic_sender.adapters.oauth_tokens import AccessTokens, FetchedToken, NoToken
from mailtopic_sender.domain.replies import ReplyClass


class Endpoint:
    is_away = False

    async def fetch(self) -> FetchedToken:
        if self.is_away:
            raise NoToken(ReplyClass.TRANSPORT, "the token endpoint can't be reached")
        return FetchedToken("token", 100.0)


def problem_of(tokens: AccessTokens) -> str | None:
    return tokens.problem


async def test_a_token_that_ends_while_none_is_wanted_is_no_problem() -> None:
    clock, endpoint = ManualClock(), Endpoint()
    tokens = AccessTokens(endpoint, clock=clock)
    await tokens.get()
    endpoint.is_away = True
    clock.advance(80)  # it is renewed beside its use, in vain
    await tokens.get()
    await asyncio.sleep(0)
    clock.advance(3600)
    assert problem_of(tokens) is None
    with pytest.raises(NoToken):
        await tokens.get()
    assert problem_of(tokens) == "the token endpoint can't be reached"
    endpoint.is_away = False
    clock.advance(60)
    await tokens.get()
    assert problem_of(tokens) is None
    await tokens.close()
