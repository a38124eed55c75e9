"""An SMTP server with logins that a test writes: which mechanisms, in which forms, and what breaks.

It is in the clear and takes every mail. `accounts` has the valid logins; `auth` replaces a
mechanism by a coroutine of the test's own.
"""

import asyncio
import base64
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Self

USER, PASSWORD = "mailer@example.org", "påss word"

Asks = Callable[[bytes], Awaitable[bytes]]
"""Sends a challenge (334 and this), returns the answer's line."""
Auth = Callable[[str, Asks], Awaitable[bytes | None]]
"""Initial response ("" for none) → the reply, or None to hang up."""


class HangUp(Exception):  # noqa: N818 - what the server does
    pass


class LoginServer:
    """The server.

    Attributes:
        offers: the mechanisms in its answer to EHLO.
        auth: what happens at each; those that aren't there are checked against `is_right`.
        initial: by mechanism, whether it takes an initial response: True insists, False refuses.
        commands: the lines that came, with base64 left out.
        auths: the AUTH commands, the mechanism and whether it had an initial response.
        connections: how many were made.
        ehlo: the reply to EHLO; None for the usual.
        greeting_delay_s: how long it lets a client wait.
        pipelining: whether it offers that.
        mails: how many it took.
    """

    def __init__(self, offers: str = "PLAIN LOGIN", *, host: str = "127.0.0.1") -> None:
        self.offers = offers
        self.host = host
        self.port = 0
        self.auth: dict[str, Auth] = {}
        self.initial: Mapping[str, bool] = {}
        self.is_right: Callable[[str, str], bool] = lambda name, secret: (
            (name, secret) == (USER, PASSWORD)
        )
        self.commands: list[str] = []
        self.auths: list[tuple[str, bool]] = []
        self.connections = 0
        self.ehlo: bytes | None = None
        self.helo = b"250 login.test\r\n"
        self.greeting_delay_s = 0.0
        self.auth_delay_s = 0.0
        self.pipelining = True
        self.mails = 0
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is not None:
            self._server.close()
        for talk in tuple(self._talks):
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        talk = asyncio.create_task(self._talk(reader, writer))
        self._talks.add(talk)

        def end(ended: asyncio.Task[None]) -> None:
            writer.transport.abort()
            self._talks.discard(ended)

        talk.add_done_callback(end)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def say(reply: bytes) -> None:
            writer.write(reply)
            await writer.drain()

        async def ask(challenge: bytes) -> bytes:
            await say(b"334 " + challenge + b"\r\n")
            return (await reader.readuntil(b"\r\n")).rstrip(b"\r\n")

        try:
            await asyncio.sleep(self.greeting_delay_s)
            await say(b"220 login.test\r\n")
            while True:
                line = (await reader.readuntil(b"\r\n")).decode().rstrip("\r\n")
                if line.upper() == "DATA":
                    await say(b"354 go on\r\n")
                    await say(await self._after_content(reader))
                else:
                    await say(await self._reply(line, ask))
        except (HangUp, OSError, asyncio.IncompleteReadError):
            pass

    async def _reply(self, line: str, ask: Asks) -> bytes:
        verb, _, rest = line.partition(" ")
        if verb.upper() == "AUTH":
            return await self._on_auth(rest, ask)
        self.commands.append(line)
        if verb.upper() == "EHLO":
            return self.ehlo or self._capabilities()
        if verb.upper() == "HELO":
            return self.helo
        return b"250 2.0.0 ok\r\n"

    async def _after_content(self, reader: asyncio.StreamReader) -> bytes:
        while await reader.readuntil(b"\r\n") != b".\r\n":
            pass
        self.mails += 1
        return b"250 2.0.0 taken\r\n"

    def _capabilities(self) -> bytes:
        more = b"250-PIPELINING\r\n" if self.pipelining else b""
        offer = f"250-AUTH {self.offers}\r\n".encode() if self.offers else b""
        return b"250-login.test\r\n" + more + offer + b"250 8BITMIME\r\n"

    async def _on_auth(self, rest: str, ask: Asks) -> bytes:
        mechanism, _, initial = rest.partition(" ")
        self.commands.append(f"AUTH {mechanism}")
        self.auths.append((mechanism, bool(initial)))
        await asyncio.sleep(self.auth_delay_s)
        wants = self.initial.get(mechanism)
        if mechanism not in self.offers.split():
            return b"504 5.5.4 unknown mechanism\r\n"
        if wants is not None and wants != bool(initial):
            return b"501 5.5.2 not in this form\r\n"
        found = await (self.auth.get(mechanism) or _AUTHS[mechanism](self))(initial, ask)
        if found is None:
            raise HangUp
        return found

    def verdict(self, name: str, secret: str) -> bytes:
        """The usual reply to a login."""
        if self.is_right(name, secret):
            return b"235 2.7.0 welcome\r\n"
        return b"535 5.7.8 authentication credentials invalid\r\n"


def decoded(line: str | bytes) -> str:
    return base64.b64decode(line, validate=True).decode()


def _plain(server: LoginServer) -> Auth:
    async def auth(initial: str, ask: Asks) -> bytes:
        _, name, secret = decoded(initial or await ask(b"")).split("\0")
        return server.verdict(name, secret)

    return auth


def _login(server: LoginServer) -> Auth:
    async def auth(initial: str, ask: Asks) -> bytes:
        name = decoded(initial or await ask(b"VXNlcm5hbWU6"))
        return server.verdict(name, decoded(await ask(b"UGFzc3dvcmQ6")))

    return auth


def _cram_md5(server: LoginServer) -> Auth:
    async def auth(initial: str, ask: Asks) -> bytes:
        del initial
        name, _, digest = decoded(await ask(base64.b64encode(b"<1.2@login.test>"))).partition(" ")
        right = hmac.new(PASSWORD.encode(), b"<1.2@login.test>", hashlib.md5).hexdigest()
        return server.verdict(name, PASSWORD if digest == right else "")

    return auth


def _xoauth2(server: LoginServer) -> Auth:
    async def auth(initial: str, ask: Asks) -> bytes:
        user, bearer, *rest = decoded(initial or await ask(b"")).split("\1")
        assert rest == ["", ""]
        token = bearer.removeprefix("auth=Bearer ")
        reply = server.verdict(user.removeprefix("user="), token)
        if reply.startswith(b"5"):
            assert await ask(base64.b64encode(b'{"status":"400"}')) == b""
        return reply

    return auth


def _oauthbearer(server: LoginServer) -> Auth:
    async def auth(initial: str, ask: Asks) -> bytes:
        head, *pairs = decoded(initial or await ask(b"")).split("\1")
        fields = dict(pair.split("=", 1) for pair in pairs if pair)
        assert (fields["host"], fields["port"]) == ("127.0.0.1", str(server.port))
        name = head.removeprefix("n,a=").removesuffix(",")
        reply = server.verdict(name, fields["auth"].removeprefix("Bearer "))
        if reply.startswith(b"5"):
            assert await ask(base64.b64encode(b'{"status":"invalid_token"}')) == b"AQ=="
        return reply

    return auth


_AUTHS: Mapping[str, Callable[[LoginServer], Auth]] = {
    "PLAIN": _plain,
    "LOGIN": _login,
    "CRAM-MD5": _cram_md5,
    "XOAUTH2": _xoauth2,
    "OAUTHBEARER": _oauthbearer,
}
