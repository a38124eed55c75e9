"""The interface of all mail servers: where one listens, what it has stored."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from mailtopic_sender.adapters.smtp_settings import RelaySettings, Security, SmtpTimeouts
from support.mail_servers.namespace import Namespace
from support.mail_servers.packages import TREES
from support.ports import free_port
from support.smtp_relay import Authority

DOMAIN = "example.org"
IDN_DOMAIN = "xn--e1afmkfd.xn--p1ai"
UNKNOWN = "unknown"
"""Every server refuses recipients that begin with it: no such user."""
FORBIDDEN = "forbidden"
"""Servers that look into messages refuse those with this word as their subject, after the dot."""
USER, PASSWORD = "mailtopic", "made-up"
_TRACE = frozenset({"return-path", "envelope-to", "delivered-to", "x-original-to", "received"})
_START_TIMEOUT_S = 20.0
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Limits:
    """A server's limits. Not every server can be configured with all of them.

    Attributes:
        pipelining: whether to offer it.
        max_octets: the largest message, octets.
        max_connections: at the same time; None for the server's default.
        mails_per_connection: None for the server's default.
        mails_per_minute: of one client; likewise.
        connections_per_minute: that one client makes; likewise.
        needs_login: take mails of `USER` only.
    """

    pipelining: bool = True
    max_octets: int = 10_000_000
    max_connections: int | None = None
    mails_per_connection: int | None = None
    mails_per_minute: int | None = None
    connections_per_minute: int | None = None
    needs_login: bool = False


@dataclass(frozen=True, slots=True)
class StoredMail:
    """A mail as it lies in a mailbox, without what the server added; line ends are CRLF again."""

    recipient: str
    content: bytes = field(repr=False)


class MailServer(Protocol):
    """A server on loopback that stores mails for `DOMAIN` and `IDN_DOMAIN`.

    Attributes:
        name: which program it is.
        security: what it offers: STARTTLS, and insists on it, or nothing.
        ca_file: whom to trust.
        port: where it listens, also after a restart.
    """

    name: str
    port: int
    security: Security
    ca_file: Path

    async def start(self) -> None:
        """Return when it greets."""
        ...

    async def kill(self) -> None:
        """Cut every connection, as a power cut does. It may be started again."""
        ...

    def stored(self) -> list[StoredMail]:
        """The mails in the mailboxes. A mail may be there later than its 250."""
        ...


class DebianServer:
    """A server out of a Debian package, in its namespaces; see `MailServer`."""

    name: str
    security = Security.STARTTLS

    def __init__(self, directory: Path, limits: Limits) -> None:
        authority = Authority()
        self.ca_file = authority.write_pem(directory / f"{self.name}-ca.pem")
        self.port = free_port()
        self.limits = limits
        self.inside = Namespace(TREES / self.name, directory / self.name)
        pem = authority.write_server_pem(directory / f"{self.name}.pem", "localhost")
        self.pem = pem.read_text()
        self.command = self.configure()

    def configure(self) -> Sequence[str]:
        """Write its files; return the command that starts it in the foreground."""
        raise NotImplementedError

    async def start(self) -> None:
        """Return when it greets."""
        self.inside.start(*self.command)
        deadline_s = asyncio.get_running_loop().time() + _START_TIMEOUT_S
        while not await self._greets():
            late = asyncio.get_running_loop().time() > deadline_s
            if late or not self.inside.is_running:
                what = "didn't greet in time" if late else "ended"
                raise AssertionError(f"{self.name} {what}: {self.told[-2000:]}")
            await asyncio.sleep(_POLL_S)

    async def kill(self) -> None:
        """Cut every connection, as a power cut does."""
        await asyncio.to_thread(self.inside.kill)

    def stored(self) -> list[StoredMail]:
        """The mails in the mailboxes."""
        files = sorted(path for path in self.inside.mails.rglob("new/*") if path.is_file())
        return [_parsed(path.read_bytes()) for path in files]

    @property
    def told(self) -> str:
        """Its log."""
        files = [path for path in self.inside.srv.glob("log/*") if path.is_file()]
        return self.inside.log + "".join(path.read_text(errors="replace") for path in files)

    async def _greets(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        try:
            greeting = await asyncio.wait_for(reader.readline(), _START_TIMEOUT_S)
        except OSError:
            return False
        finally:
            writer.close()
        return greeting.startswith(b"220")


def relay(
    server: MailServer,
    *,
    max_connections: int = 4,
    mails_per_connection: int = 100,
    logs_in: bool = False,
    password: str = PASSWORD,
    timeouts: SmtpTimeouts | None = None,
) -> RelaySettings:
    """Settings for a server: STARTTLS, its certificate checked."""
    return RelaySettings(
        "localhost",
        server.port,
        name=server.name,
        security=server.security,
        ca_file=server.ca_file,
        username=USER if logs_in else None,
        password=password if logs_in else None,
        max_connections=max_connections,
        mails_per_connection=mails_per_connection,
        timeouts=timeouts or SmtpTimeouts(),
    )


def _parsed(octets: bytes) -> StoredMail:
    """Take off the fields that the server put on top; one of them names the recipient."""
    lines = octets.replace(b"\r\n", b"\n").split(b"\n")
    recipient = ""
    at = 0
    while at < len(lines):
        name, colon, value = lines[at].partition(b":")
        if not colon or name.decode("ascii", "replace").lower() not in _TRACE:
            break
        if name.lower() in {b"envelope-to", b"delivered-to"}:
            recipient = value.strip().decode()
        at += 1
        while lines[at][:1] in {b" ", b"\t"}:
            at += 1
    return StoredMail(recipient, b"\r\n".join(lines[at:]))
