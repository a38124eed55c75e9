"""aiosmtpd as its users write it: in this process, mails kept in a list. Offers no PIPELINING."""

import asyncio
import logging
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from mailtopic_sender.adapters.smtp_settings import Security
from support.mail_servers.server import FORBIDDEN, PASSWORD, UNKNOWN, USER, Limits, StoredMail
from support.smtp_relay import Authority


class Aiosmtpd:
    """Refuses unknown recipients at RCPT and forbidden subjects after the dot; knows `USER`."""

    name = "aiosmtpd"
    security = Security.STARTTLS

    def __init__(self, directory: Path, limits: Limits) -> None:
        authority = Authority()
        self.ca_file = authority.write_pem(directory / "aiosmtpd-ca.pem")
        self.port = 0
        self._limits = limits
        self._tls = authority.server_context("localhost")
        self._mails: list[StoredMail] = []
        self._sessions: set[_Session] = set()
        self._server: asyncio.Server | None = None
        # Its sessions end with the error of the connection that was lost, which needs no report.
        logging.getLogger("mail.log").setLevel(logging.CRITICAL + 1)

    async def start(self) -> None:
        """Listen."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._session, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def kill(self) -> None:
        """Refuse connections and cut the open ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for session in tuple(self._sessions):
            session.cut()

    def stored(self) -> list[StoredMail]:
        """The mails that were accepted."""
        return self._mails.copy()

    def _session(self) -> SMTP:
        return _Session(
            _Handler(self._mails),
            self._sessions,
            data_size_limit=self._limits.max_octets,
            enable_SMTPUTF8=True,
            hostname="aiosmtpd.test",
            tls_context=self._tls,
            require_starttls=True,
            authenticator=_check,
            auth_required=self._limits.needs_login,
            loop=asyncio.get_running_loop(),
        )


class _Session(SMTP):
    def __init__(self, handler: "_Handler", sessions: "set[_Session]", **options: Any) -> None:
        super().__init__(handler, **options)
        self._open_sessions = sessions

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._open_sessions.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._open_sessions.discard(self)
        super().connection_lost(error)

    def cut(self) -> None:
        if isinstance(self.transport, asyncio.Transport):
            self.transport.abort()


class _Handler:
    """What aiosmtpd calls; the names are its own (`handle_COMMAND`)."""

    def __init__(self, mails: list[StoredMail]) -> None:
        self._mails = mails

    async def handle_RCPT(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: object
    ) -> str:
        if address.startswith(UNKNOWN):
            return "550 5.1.1 no such user"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        content = envelope.original_content or b""
        if f"\r\nSubject: {FORBIDDEN}\r\n".encode() in content:
            return "550 5.6.0 forbidden"
        self._mails += [StoredMail(recipient, content) for recipient in envelope.rcpt_tos]
        return "250 2.0.0 stored"


def _check(
    _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, login: LoginPassword
) -> AuthResult:
    is_known = (login.login, login.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=is_known, handled=False)
