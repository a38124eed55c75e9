"""A real OAuth token server for tests: HTTPS on loopback, short-lived tokens, bad days.

In a test::

    async with OAuthServer(authority) as oauth:
        oauth.token_url          # POST, RFC 6749 §4.4 and §6, RFC 7523 §2.1
        oauth.introspection_url  # POST, RFC 7662
        oauth.answer = (503, b"away")

Tokens are for one user and good for `lifetime_s`. It knows one client, one refresh token and one
service account with a key that it generates.
"""

import asyncio
import base64
import json
import secrets
import ssl
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from joserfc import jwt
from joserfc.jwk import RSAKey

from support.smtp_relay import Authority

USER = "mailer@example.org"
CLIENT_ID, CLIENT_SECRET = "mailtopic", "cl1ent:s%cret/+"
REFRESH_TOKEN = "1//refresh-token"
ACCOUNT = "robot@project.iam.example.com"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_OK, _BAD_REQUEST, _UNAUTHORISED = 200, 400, 401


@dataclass
class Asked:
    """One request for a token, as it came."""

    grant: str
    form: dict[str, str] = field(repr=False)


class OAuthServer:
    """The server. Attributes may be changed while it runs.

    Attributes:
        lifetime_s: of the tokens that it hands out.
        says_lifetime: whether it says so.
        answer: status and body of whatever is asked for a token; None for the usual.
        delay_s: before each answer.
        asked: the requests for a token, in order.
        tokens: what was handed out, with the end of each (monotonic seconds).
        rotates: whether a refresh brings a new refresh token.
        refresh_token: the one that it takes.
    """

    def __init__(self, authority: Authority, *, port: int = 0) -> None:
        self.lifetime_s = 3600.0
        self.says_lifetime = True
        self.answer: tuple[int, bytes] | None = None
        self.delay_s = 0.0
        self.asked: list[Asked] = []
        self.tokens: dict[str, float] = {}
        self.rotates = False
        self.refresh_token = REFRESH_TOKEN
        self.port = port
        self._tls: ssl.SSLContext = authority.server_context("localhost")
        self._key = rsa.generate_private_key(65537, 2048)
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.Task[None]] = set()

    @property
    def token_url(self) -> str:
        return f"https://localhost:{self.port}/token"

    @property
    def introspection_url(self) -> str:
        return f"https://localhost:{self.port}/introspect"

    def service_account(self, **changes: Any) -> str:
        """The JSON key of the service account, changed so."""
        pem = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        key = {
            "type": "service_account",
            "client_email": ACCOUNT,
            "private_key": pem.decode(),
            "private_key_id": "key-1",
            "token_uri": self.token_url,
        }
        return json.dumps(key | changes)

    def is_good(self, token: str) -> bool:
        """Whether a token was handed out and hasn't ended."""
        return self.tokens.get(token, 0.0) > time.monotonic()

    def revoke(self) -> None:
        """End every token at once."""
        self.tokens.clear()

    async def start(self) -> None:
        """Listen; on the same port as before if it was stopped."""
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", self.port, ssl=self._tls
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuse connections and cut the open ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for talk in tuple(self._talks):
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = asyncio.create_task(self._talk(reader, writer))
        self._talks.add(talk)

        def end(ended: asyncio.Task[None]) -> None:
            writer.transport.abort()
            self._talks.discard(ended)

        talk.add_done_callback(end)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            pairs = (line.lower().partition(": ") for line in head.split("\r\n")[1:])
            fields = {name: value for name, _, value in pairs}
            body = (await reader.readexactly(int(fields.get("content-length", "0")))).decode()
            basic = next((x for x in head.split("\r\n") if x.lower().startswith("authoriz")), "")
            form = {key: values[0] for key, values in parse_qs(body).items()}
            await asyncio.sleep(self.delay_s)
            if head.split(" ")[1] == "/introspect":
                status, said = _OK, self._introspected(form.get("token", ""))
            else:
                status, said = self._token(form, basic)
            writer.write(
                b"HTTP/1.1 %d x\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\nConnection: close\r\n\r\n%b" % (status, len(said), said)
            )
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass

    def _introspected(self, token: str) -> bytes:
        if not self.is_good(token):
            return b'{"active": false}'
        return json.dumps({"active": True, "username": USER, "scope": "smtp"}).encode()

    def _token(self, form: dict[str, str], basic: str) -> tuple[int, bytes]:
        grant = form.get("grant_type", "")
        self.asked.append(Asked(grant, form))
        if self.answer is not None:
            return self.answer
        problem = self._problem(grant, form, basic)
        if problem is not None:
            # Some providers quote what they got; none of it may be shown.
            said = {"error": problem, "error_description": f"AADSTS7000215: {form} {basic}"}
            return _UNAUTHORISED if problem == "invalid_client" else _BAD_REQUEST, _json(said)
        token = f"ey.{secrets.token_urlsafe(24)}"
        self.tokens[token] = time.monotonic() + self.lifetime_s
        found: dict[str, Any] = {"access_token": token, "token_type": "Bearer"}
        if self.says_lifetime:
            found["expires_in"] = int(self.lifetime_s)
        if grant == "refresh_token" and self.rotates:
            self.refresh_token = found["refresh_token"] = f"1//{secrets.token_urlsafe(8)}"
        return _OK, _json(found)

    def _problem(self, grant: str, form: dict[str, str], basic: str) -> str | None:
        if grant == JWT_BEARER:
            return None if self._is_signed(form["assertion"]) else "invalid_grant"
        pair = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        if basic.partition(" ")[2] != f"Basic {pair}":
            return "invalid_client"
        if grant == "refresh_token":
            return None if form["refresh_token"] == self.refresh_token else "invalid_grant"
        return None if grant == "client_credentials" else "unsupported_grant_type"

    def _is_signed(self, assertion: str) -> bool:
        pem = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        claims = jwt.decode(assertion, RSAKey.import_key(pem), algorithms=["RS256"]).claims
        return (claims["iss"], claims["sub"], claims["aud"]) == (ACCOUNT, USER, self.token_url)


def _json(found: dict[str, Any]) -> bytes:
    return json.dumps(found).encode()
