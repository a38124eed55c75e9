"""Logging in, over real sockets: mechanisms and their forms, what breaks, and what a 535 costs."""

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mailtopic_runtime import ManualClock, get_logger
from mailtopic_sender.adapters import smtp_connecting
from mailtopic_sender.adapters.smtp_opening import SessionOpener, SessionRefused
from mailtopic_sender.adapters.smtp_settings import (
    Mechanism,
    OAuthSettings,
    RelaySettings,
    Security,
    SmtpTimeouts,
)
from mailtopic_sender.domain.replies import ReplyClass as C
from support import login_server
from support.login_server import PASSWORD, Asks, LoginServer
from support.oauth_server import CLIENT_ID, CLIENT_SECRET, OAuthServer
from support.smtp_mails import mail, mailer_to
from support.smtp_relay import Authority


@pytest.fixture
async def server() -> AsyncIterator[LoginServer]:
    async with LoginServer() as server:
        yield server


def settings(server: LoginServer, **more: Any) -> RelaySettings:
    given = {"username": login_server.USER, "password": PASSWORD} | more
    return RelaySettings(server.host, server.port, security=Security.NONE, **given)


def opener(relay: RelaySettings) -> SessionOpener:
    return SessionOpener(relay, clock=ManualClock(), log=get_logger("test"))


async def logs_in(opener: SessionOpener) -> bool:
    session = await opener.open()
    session.close()
    return session.capabilities.logged_in


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
@pytest.mark.parametrize("initial", [{}, {"PLAIN": True, "LOGIN": True}, {"PLAIN": False}])
async def test_every_mechanism_works_in_both_forms(
    server: LoginServer, mechanism: str, initial: dict[str, bool]
) -> None:
    server.offers = mechanism
    server.initial = initial
    one = opener(settings(server))
    assert await logs_in(one)
    tries = len(server.auths)
    assert tries <= 2
    # What works is remembered.
    assert await logs_in(one)
    assert len(server.auths) == tries + 1


async def test_an_initial_response_that_is_passed_over_is_said_again(server: LoginServer) -> None:
    async def forgetful(initial: str, ask: Asks) -> bytes:
        assert initial
        _, name, secret = login_server.decoded(await ask(b"")).split("\0")
        return server.verdict(name, secret)

    server.auth["PLAIN"] = forgetful
    assert await logs_in(opener(settings(server)))
    assert server.auths == [("PLAIN", True)]


async def test_the_password_is_refused_once_by_one_mechanism(server: LoginServer) -> None:
    server.offers = "PLAIN LOGIN XOAUTH2"
    one = opener(settings(server, password="wrong"))
    for _ in range(5):
        with pytest.raises(SessionRefused) as refused:
            await one.open()
        answer = refused.value.answer
        assert (answer.reply_class, answer.phase) == (C.AUTH, "auth")
        assert answer.reply is not None
        assert answer.reply.code == 535
    assert server.auths == [("PLAIN", True)]
    await one.pause(0)
    with pytest.raises(SessionRefused):
        await one.open()
    assert len(server.auths) == 2


async def test_connections_that_open_together_try_a_wrong_password_once(
    server: LoginServer,
) -> None:
    server.auth_delay_s = 0.05
    one = opener(settings(server, password="wrong"))
    results = await asyncio.gather(*(one.open() for _ in range(10)), return_exceptions=True)
    assert all(isinstance(result, SessionRefused) for result in results)
    assert len(server.auths) == 1


async def test_a_mailer_tries_a_wrong_password_once_for_many_mails(server: LoginServer) -> None:
    relay = settings(server, password="wrong", max_connections=10)
    async with mailer_to(relay, start=True, refused_login_s=600) as mailer:
        results = await asyncio.gather(*(mailer.send(mail()) for _ in range(30)))
    assert {result.reply_class for result in results} == {C.AUTH}
    assert len(server.auths) == 1


@pytest.mark.parametrize("right", ["wrong", PASSWORD])
async def test_a_password_file_that_is_written_ends_the_pause(
    server: LoginServer, tmp_path: Path, right: str
) -> None:
    file = tmp_path / "password"
    file.write_text("wrong")
    relay = settings(server, password="wrong", password_file=file)
    async with mailer_to(relay, refused_login_s=600) as mailer:
        assert (await mailer.send(mail())).reply_class is C.AUTH
        server.is_right = lambda _name, secret: secret == right
        file.write_text(f"{right}\n")
        async with asyncio.timeout(10):
            await mailer.wait_available()
        assert (await mailer.send(mail())).reply_class is C.ACCEPTED
    assert len(server.auths) == 2


async def test_a_username_file_that_is_written_ends_the_pause(
    server: LoginServer, tmp_path: Path
) -> None:
    file = tmp_path / "username"
    file.write_text("wrong")
    relay = settings(server, username="wrong", username_file=file)
    server.is_right = lambda name, _secret: name == "right"
    async with mailer_to(relay, refused_login_s=600) as mailer:
        assert (await mailer.send(mail())).reply_class is C.AUTH
        file.write_text("\ufeffright\n")
        async with asyncio.timeout(10):
            await mailer.wait_available()
        assert (await mailer.send(mail())).reply_class is C.ACCEPTED
    assert len(server.auths) == 2


async def breaks_off(initial: str, ask: Asks) -> None:
    del initial, ask


async def refuses_the_mechanism(initial: str, ask: Asks) -> bytes:
    del initial, ask
    return b"504 5.5.4 mechanism not supported\r\n"


async def is_too_weak(initial: str, ask: Asks) -> bytes:
    del initial, ask
    return b"534 5.7.9 mechanism too weak\r\n"


async def talks_nonsense(initial: str, ask: Asks) -> bytes:
    del initial
    for _ in range(9):
        await ask(b"@@@")
    return b"535 5.7.8 no\r\n"


@pytest.mark.parametrize("broken", [breaks_off, refuses_the_mechanism, is_too_weak, talks_nonsense])
@pytest.mark.parametrize("mechanism", ["PLAIN", "CRAM-MD5"])
async def test_a_broken_mechanism_is_passed_over_and_stays_so(
    server: LoginServer, broken: Any, mechanism: str
) -> None:
    server.offers = f"{mechanism} LOGIN"
    server.auth[mechanism] = broken
    one = opener(settings(server, mechanisms=(Mechanism(mechanism), Mechanism.LOGIN)))
    assert await logs_in(one)
    assert [each for each, _ in server.auths] == [mechanism, "LOGIN"]
    assert server.connections == 2
    assert await logs_in(one)
    assert [each for each, _ in server.auths] == [mechanism, "LOGIN", "LOGIN"]


async def test_cram_md5_may_refuse_a_right_password_and_hang_up(server: LoginServer) -> None:
    async def hashed_only(initial: str, ask: Asks) -> bytes | None:
        del initial
        await ask(b"PDEuMkBsb2dpbi50ZXN0Pg==")
        return b"535 5.7.8 no\r\n"

    server.offers = "CRAM-MD5 PLAIN"
    server.auth["CRAM-MD5"] = hashed_only
    one = opener(settings(server))
    assert await logs_in(one)
    assert await logs_in(one)
    assert [each for each, _ in server.auths] == ["CRAM-MD5", "PLAIN", "PLAIN"]


async def test_only_allowed_mechanisms_are_used_in_their_order(server: LoginServer) -> None:
    server.offers = "PLAIN CRAM-MD5 LOGIN"
    await logs_in(opener(settings(server, mechanisms=(Mechanism.LOGIN, Mechanism.PLAIN))))
    with pytest.raises(SessionRefused) as refused:
        await opener(settings(server, mechanisms=(Mechanism.XOAUTH2,))).open()
    assert [each for each, _ in server.auths] == ["LOGIN"]
    assert refused.value.answer.reply_class is C.POLICY


async def test_with_microsofts_no_to_passwords_no_other_mechanism_is_tried(
    server: LoginServer,
) -> None:
    async def is_off(initial: str, ask: Asks) -> bytes:
        del initial, ask
        return b"550 5.7.30 Basic authentication is not supported for Client Submission.\r\n"

    server.auth = {"PLAIN": is_off, "LOGIN": is_off}
    with pytest.raises(SessionRefused) as refused:
        await opener(settings(server)).open()
    assert refused.value.answer.reply_class is C.AUTH
    assert len(server.auths) == 1


# Tokens


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
async def oauth(authority: Authority, server: LoginServer) -> AsyncIterator[OAuthServer]:
    async with OAuthServer(authority) as oauth:
        server.offers = "PLAIN XOAUTH2 OAUTHBEARER"
        server.is_right = lambda name, token: name == login_server.USER and oauth.is_good(token)
        yield oauth


@pytest.fixture
def by_token(
    server: LoginServer, oauth: OAuthServer, authority: Authority, tmp_path: Path
) -> RelaySettings:
    tokens = OAuthSettings(
        token_url=oauth.token_url,
        client_id=CLIENT_ID,
        client_secret=CLIENT_SECRET,
        ca_file=authority.write_pem(tmp_path / "ca.pem"),
    )
    return settings(server, password=None, oauth=tokens)


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
@pytest.mark.parametrize("initial", [{}, {"XOAUTH2": False, "OAUTHBEARER": False}])
async def test_tokens_log_in_by_both_mechanisms(
    server: LoginServer, by_token: RelaySettings, mechanism: str, initial: dict[str, bool]
) -> None:
    server.initial = initial
    one = opener(replace(by_token, mechanisms=(Mechanism(mechanism),)))
    assert await logs_in(one)
    assert {each for each, _ in server.auths} == {mechanism}


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
async def test_a_token_that_is_refused_is_renewed_once_and_tried_again(
    server: LoginServer, oauth: OAuthServer, by_token: RelaySettings, mechanism: str
) -> None:
    one = opener(replace(by_token, mechanisms=(Mechanism(mechanism),)))
    assert await logs_in(one)
    oauth.revoke()
    assert await logs_in(one)
    assert (len(oauth.asked), len(server.auths)) == (2, 3)


async def test_a_new_token_that_is_refused_isnt_renewed(
    server: LoginServer, oauth: OAuthServer, by_token: RelaySettings
) -> None:
    server.is_right = lambda _name, _token: False
    one = opener(by_token)
    for _ in range(3):
        with pytest.raises(SessionRefused) as refused:
            await one.open()
        assert refused.value.answer.reply_class is C.AUTH
    assert (len(server.auths), len(oauth.asked)) == (1, 1)


async def test_many_connections_share_the_renewal_of_a_refused_token(
    server: LoginServer, oauth: OAuthServer, by_token: RelaySettings
) -> None:
    one = opener(by_token)
    assert await logs_in(one)
    oauth.revoke()
    server.auth_delay_s = 0.02
    assert all(await asyncio.gather(*(logs_in(one) for _ in range(8))))
    assert len(oauth.asked) == 2
    assert len(server.auths) == 1 + 1 + 8


async def test_while_there_is_no_token_the_relay_is_left_alone(
    server: LoginServer, oauth: OAuthServer, by_token: RelaySettings
) -> None:
    await oauth.stop()
    one = opener(by_token)
    with pytest.raises(SessionRefused) as refused:
        await one.open()
    answer = refused.value.answer
    assert (answer.reply_class, answer.problem) == (
        C.TRANSPORT,
        "no token: the token endpoint can't be reached",
    )
    assert server.connections == 0
    assert one.problem == "the token endpoint can't be reached"


async def test_a_token_file_that_was_renewed_is_tried_at_once(
    server: LoginServer, tmp_path: Path
) -> None:
    server.offers = "XOAUTH2"
    server.is_right = lambda _name, token: token == "second"
    file = tmp_path / "token"
    file.write_text("first")
    one = opener(settings(server, password=None, oauth=OAuthSettings(token_file=file)))
    with pytest.raises(SessionRefused):
        await one.open()
    with pytest.raises(SessionRefused):
        await one.open()
    assert len(server.auths) == 1
    file.write_text("second")
    assert await logs_in(one)
    assert len(server.auths) == 2


# What the relay is called, and what it calls us


@pytest.mark.parametrize("code", [500, 501, 502, 504, 550])
async def test_a_server_without_ehlo_gets_helo(server: LoginServer, code: int) -> None:
    server.ehlo = b"%d 5.5.1 what?\r\n" % code
    async with mailer_to(settings(server, username=None)) as mailer:
        assert (await mailer.send(mail())).reply_class is C.ACCEPTED
    assert [line.split()[0] for line in server.commands[:2]] == ["EHLO", "HELO"]


@pytest.mark.parametrize(
    ("host_name", "said"),
    [
        ("mail.example.com", "mail.example.com"),
        ("sender-7d9f-x2x", "[127.0.0.1]"),
        ("ip-10-0-0-1.ec2.internal", "[127.0.0.1]"),
        ("box.local", "[127.0.0.1]"),
        ("localhost.localdomain", "[127.0.0.1]"),
        ("with_underscore.example.com", "[127.0.0.1]"),
        ("10.1.2.3", "[127.0.0.1]"),
        ("", "[127.0.0.1]"),
    ],
)
async def test_ehlo_says_a_full_name_or_the_address(
    server: LoginServer, monkeypatch: pytest.MonkeyPatch, host_name: str, said: str
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: host_name)
    await logs_in(opener(settings(server)))
    assert server.commands[0] == f"EHLO {said}"


async def test_ehlo_says_what_is_set(server: LoginServer) -> None:
    await logs_in(opener(settings(server, ehlo_name="mx.example.net")))
    assert server.commands[0] == "EHLO mx.example.net"


def test_an_ipv6_address_is_written_as_a_literal() -> None:
    assert smtp_connecting.address_literal("2001:db8::1") == "[IPv6:2001:db8::1]"
    assert smtp_connecting.address_literal("fe80::1%eth0") == "[IPv6:fe80::1]"
    assert smtp_connecting.address_literal("::ffff:192.0.2.1") == "[192.0.2.1]"


async def test_pipelining_can_be_switched_off(server: LoginServer) -> None:
    for pipelining in (True, False):
        session = await opener(settings(server, pipelining=pipelining)).open()
        session.close()
        assert session.capabilities.pipelining is pipelining


async def test_a_late_greeting_is_waited_for_as_long_as_set(server: LoginServer) -> None:
    server.greeting_delay_s = 0.3
    patient = settings(server, timeouts=SmtpTimeouts(greeting_s=5))
    assert await logs_in(opener(patient))
    with pytest.raises(SessionRefused) as refused:
        await opener(settings(server, timeouts=SmtpTimeouts(greeting_s=0.1))).open()
    assert refused.value.answer.problem == "timed out"


# All addresses of a relay


@pytest.fixture
def black_hole() -> Any:
    """An address whose connections are never completed: a listener with a full queue."""
    with socket.socket() as full:
        full.bind(("127.0.0.2", 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting = []
        for _ in range(4):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(("127.0.0.2", port))
            waiting.append(one)
        yield port
        for one in waiting:
            one.close()


def resolve(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Have a name resolved to these addresses."""

    async def getaddrinfo(_host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in addresses]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo, raising=False)


@pytest.mark.parametrize("others", [[], ["127.0.0.3"]])
async def test_an_address_that_never_answers_holds_up_no_other(
    monkeypatch: pytest.MonkeyPatch, black_hole: int, others: list[str]
) -> None:
    server = LoginServer()
    server.port = black_hole
    async with server:
        resolve(monkeypatch, "127.0.0.2", *others, "127.0.0.1")
        patience = SmtpTimeouts(connect_s=20)
        relay = replace(settings(server, timeouts=patience), host="relay.test")
        async with asyncio.timeout(10):
            assert await logs_in(opener(relay))


async def test_addresses_without_an_answer_time_out(
    monkeypatch: pytest.MonkeyPatch, black_hole: int
) -> None:
    resolve(monkeypatch, "127.0.0.2")
    relay = RelaySettings(
        "relay.test", black_hole, security=Security.NONE, timeouts=SmtpTimeouts(connect_s=0.2)
    )
    with pytest.raises(SessionRefused) as refused:
        await opener(relay).open()
    answer = refused.value.answer
    assert (answer.reply_class, answer.problem) == (C.TRANSPORT, "timed out")


async def test_addresses_that_refuse_are_told_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve(monkeypatch, "127.0.0.2", "127.0.0.3")
    relay = RelaySettings("relay.test", 9, security=Security.NONE)
    with pytest.raises(SessionRefused) as refused:
        await opener(relay).open()
    assert refused.value.answer.problem == "connection refused"
