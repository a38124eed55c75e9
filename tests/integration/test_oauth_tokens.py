"""Tokens from a real token server over TLS: each grant, early renewal, refusals, bad days."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mailtopic_runtime import ManualClock, SettingError
from mailtopic_sender.adapters.oauth_tokens import AccessTokens, NoToken, TokenFile, tokens_of
from mailtopic_sender.adapters.smtp_settings import OAuthSettings
from mailtopic_sender.domain.replies import ReplyClass as C
from support.oauth_server import (
    CLIENT_ID,
    CLIENT_SECRET,
    JWT_BEARER,
    REFRESH_TOKEN,
    USER,
    OAuthServer,
)
from support.smtp_relay import Authority

Opens = Callable[..., AccessTokens]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
async def server(authority: Authority) -> AsyncIterator[OAuthServer]:
    async with OAuthServer(authority) as server:
        yield server


@pytest.fixture
def settings(server: OAuthServer, authority: Authority, tmp_path: Path) -> OAuthSettings:
    return OAuthSettings(
        token_url=server.token_url,
        client_id=CLIENT_ID,
        client_secret=CLIENT_SECRET,
        scope="mail.send offline",
        ca_file=authority.write_pem(tmp_path / "ca.pem"),
    )


@pytest.fixture
async def opens(clock: ManualClock) -> AsyncIterator[Opens]:
    made: list[AccessTokens] = []

    def open_tokens(settings: OAuthSettings) -> AccessTokens:
        found = tokens_of(settings, USER, clock=clock)
        assert isinstance(found, AccessTokens)
        made.append(found)
        return found

    yield open_tokens
    for each in made:
        await each.close()


async def test_client_credentials_bring_a_token(
    server: OAuthServer, settings: OAuthSettings, opens: Opens
) -> None:
    token = await opens(settings).get()
    assert server.is_good(token.value)
    assert token.is_new
    (asked,) = server.asked
    assert (asked.grant, asked.form["scope"]) == ("client_credentials", "mail.send offline")
    assert token.value not in repr(token)


async def test_a_refresh_token_brings_tokens_and_follows_its_rotation(
    server: OAuthServer, settings: OAuthSettings, opens: Opens, clock: ManualClock
) -> None:
    server.rotates = True
    tokens = opens(replace(settings, refresh_token=REFRESH_TOKEN))
    await tokens.get()
    for _ in range(2):
        clock.advance(3600)
        assert server.is_good((await tokens.get()).value)
    sent = [asked.form["refresh_token"] for asked in server.asked]
    assert sent[0] == REFRESH_TOKEN
    assert len(set(sent)) == 3


async def test_a_service_account_brings_a_token_for_the_user(
    server: OAuthServer, settings: OAuthSettings, opens: Opens
) -> None:
    key = server.service_account()
    tokens = opens(OAuthSettings(service_account=key, ca_file=settings.ca_file))
    assert server.is_good((await tokens.get()).value)
    assert [asked.grant for asked in server.asked] == [JWT_BEARER]


async def test_however_many_ask_the_endpoint_is_asked_once(
    server: OAuthServer, settings: OAuthSettings, opens: Opens
) -> None:
    server.delay_s = 0.1
    tokens = opens(settings)
    found = await asyncio.gather(*(tokens.get() for _ in range(20)))
    assert len({token.value for token in found}) == 1
    assert len(server.asked) == 1


async def test_who_stops_waiting_stops_nobody_elses_token(
    server: OAuthServer, settings: OAuthSettings, opens: Opens
) -> None:
    server.delay_s = 0.1
    tokens = opens(settings)
    first, second = asyncio.create_task(tokens.get()), asyncio.create_task(tokens.get())
    await asyncio.sleep(0)
    first.cancel()
    assert server.is_good((await second).value)
    assert len(server.asked) == 1


async def test_a_token_is_renewed_beside_its_use_before_it_ends(
    server: OAuthServer, settings: OAuthSettings, opens: Opens, clock: ManualClock
) -> None:
    server.lifetime_s = 20
    tokens = opens(settings)
    first = await tokens.get()
    clock.advance(14)
    assert (await tokens.get()).value == first.value
    assert len(server.asked) == 1
    clock.advance(2)
    assert (await tokens.get()).value == first.value
    # In the second half of the time before its end, the new one is waited for.
    clock.advance(2)
    assert (await tokens.get()).value != first.value
    assert len(server.asked) == 2


async def test_a_token_that_is_still_good_outlives_a_failed_renewal(
    server: OAuthServer, settings: OAuthSettings, opens: Opens, clock: ManualClock
) -> None:
    server.lifetime_s = 100
    tokens = opens(settings)
    first = await tokens.get()
    server.answer = (503, b"away")
    clock.advance(99)
    assert (await tokens.get()).value == first.value
    assert tokens.problem is None
    clock.advance(2)
    with pytest.raises(NoToken, match="the token endpoint answers 503"):
        await tokens.get()
    assert tokens.problem == "the token endpoint answers 503"


async def test_an_endpoint_that_is_away_is_asked_after_growing_pauses(
    server: OAuthServer, settings: OAuthSettings, opens: Opens, clock: ManualClock
) -> None:
    server.answer = (500, b"")
    tokens = opens(settings)
    gaps: list[float] = []
    waited_s = 0.0
    while len(gaps) < 7:
        before = len(server.asked)
        with pytest.raises(NoToken) as failed:
            await tokens.get()
        assert failed.value.reply_class is C.TRANSPORT
        if len(server.asked) > before:
            gaps.append(waited_s)
            waited_s = 0.0
        clock.advance(0.5)
        waited_s += 0.5
    assert gaps == [0, 1, 2, 5, 10, 20, 30]
    server.answer = None
    clock.advance(30)
    assert server.is_good((await tokens.get()).value)
    assert tokens.problem is None


@pytest.mark.parametrize(
    "body",
    [
        b"<html>sign in</html>",
        b"[]",
        b"{}",
        b'{"access_token": ""}',
        b'{"access_token": 7}',
        b'{"access_token": "a b"}',
        b'{"access_token": "a\\r\\nQUIT"}',
        b'{"access_token": "x", "token_type": "mac"}',
        b'{"access_token": "x", "expires_in": "soon"}',
        b'{"access_token": "x", "expires_in": -1}',
        b'{"access_token": "x", "expires_in": NaN}',
        b'{"access_token": "x", "expires_in": 1' + b"0" * 400 + b"}",
        b"[" * 100_000,
        b"\xff\xfe",
        b"",
    ],
)
async def test_garbage_is_no_token(
    server: OAuthServer, settings: OAuthSettings, opens: Opens, body: bytes
) -> None:
    server.answer = (200, body)
    with pytest.raises(NoToken) as failed:
        await opens(settings).get()
    assert failed.value.reply_class is C.TRANSPORT
    assert str(failed.value) == "the token endpoint's answer is no token"


async def test_a_refusal_is_told_without_what_was_sent(
    settings: OAuthSettings, opens: Opens
) -> None:
    tokens = opens(replace(settings, client_secret="wr0ng"))
    with pytest.raises(NoToken) as failed:
        await tokens.get()
    assert failed.value.reply_class is C.AUTH
    assert str(failed.value) == "the token endpoint refuses: invalid_client, AADSTS7000215"


async def test_an_endpoint_that_nobody_vouches_for_gets_no_secret(
    server: OAuthServer, settings: OAuthSettings, opens: Opens, tmp_path: Path
) -> None:
    stranger = Authority().write_pem(tmp_path / "stranger.pem")
    with pytest.raises(NoToken, match="certificate is not trusted") as failed:
        await opens(replace(settings, ca_file=stranger)).get()
    assert failed.value.reply_class is C.POLICY
    assert not server.asked


async def test_a_redirect_is_not_followed(
    server: OAuthServer, settings: OAuthSettings, opens: Opens
) -> None:
    server.answer = (302, b"")
    with pytest.raises(NoToken):
        await opens(settings).get()
    assert len(server.asked) == 1


async def test_a_secret_is_read_from_its_file_each_time(
    server: OAuthServer, settings: OAuthSettings, opens: Opens, tmp_path: Path
) -> None:
    file = tmp_path / "secret"
    file.write_text("wr0ng\n")
    tokens = opens(replace(settings, client_secret="wr0ng", files={"client_secret": file}))
    with pytest.raises(NoToken):
        await tokens.get()
    file.write_text(f"{CLIENT_SECRET}\n")
    assert server.is_good((await tokens.get()).value)


async def test_a_proxy_is_respected(
    server: OAuthServer, settings: OAuthSettings, opens: Opens, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines.append(await reader.readline())
        writer.write(b"HTTP/1.1 403 no\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as proxy:
        port = proxy.sockets[0].getsockname()[1]
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        with pytest.raises(NoToken, match="can't be reached"):
            await opens(settings).get()
    assert lines == [b"CONNECT localhost:%d HTTP/1.1\r\n" % server.port]
    assert not server.asked


async def test_a_token_file_is_read_each_time(tmp_path: Path, clock: ManualClock) -> None:
    file = tmp_path / "token"
    tokens = tokens_of(OAuthSettings(token_file=file), USER, clock=clock)
    assert isinstance(tokens, TokenFile)
    with pytest.raises(NoToken, match="the token file can't be read: No such file"):
        await tokens.get()
    assert tokens.problem is not None
    for content in ("", "a b", "a\nb", "\x00"):
        file.write_text(content)
        with pytest.raises(NoToken, match="the token file holds no token"):
            await tokens.get()
    for token in ("first", "second"):
        file.write_text(f"{token}\n")
        assert (await tokens.get()).value == token
    assert tokens.problem is None


def test_a_bad_ca_file_names_its_setting(settings: OAuthSettings, tmp_path: Path) -> None:
    bad = replace(settings, ca_file=tmp_path / "none.pem", ca_setting="MAILTOPIC_X")
    with pytest.raises(SettingError, match="MAILTOPIC_X"):
        tokens_of(bad, USER, clock=ManualClock())
