"""The SMTP side of the inbox: takes every mail, over STARTTLS where there is a certificate."""

import asyncio
import logging
import socket
import sqlite3
import ssl
from collections.abc import Sequence
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from mailtopic_inbox.store import MailStore

MAX_MAIL_BYTES = 10 * 1024 * 1024
# A command, and all of the data of a mail, must each arrive within this time.
IDLE_TIMEOUT_S = 60
SESSION_TIMEOUT_S = 900
MAX_SESSIONS = 256
MAX_RECIPIENTS = 100
_HOST_NAME = "inbox.localhost"


class InboxSmtp:
    """Listens on one port and hands every mail to the store before it answers the final dot.

    Any user name and password are accepted, after STARTTLS only, and so never without `tls`.
    PIPELINING, SIZE, 8BITMIME and SMTPUTF8 are offered.
    """

    def __init__(self, store: MailStore, tls: ssl.SSLContext | None) -> None:
        self._handler = _Handler(store)
        self._tls = tls
        self._sessions: set[asyncio.BaseTransport] = set()
        self._server: asyncio.Server | None = None
        # aiosmtpd logs commands with addresses and bodies, which must not be logged.
        for name in ("mail.log", "mail.error", "mail.debug"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)

    async def start(self, listener: socket.socket) -> None:
        """Accept connections on a bound socket, which this object then owns."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._session, sock=listener)

    async def stop(self) -> None:
        """Stop listening and drop the open sessions."""
        if self._server:
            self._server.close()
            for transport in list(self._sessions):
                transport.close()
            await self._server.wait_closed()

    def _session(self) -> SMTP:
        return _Session(
            self._handler,
            self._sessions,
            data_size_limit=MAX_MAIL_BYTES,
            enable_SMTPUTF8=True,
            hostname=_HOST_NAME,
            ident="ESMTP MailTopic inbox",
            tls_context=self._tls,
            timeout=IDLE_TIMEOUT_S,
            authenticator=_accept_anyone,
            loop=asyncio.get_running_loop(),
        )


class _Session(SMTP):
    """A session with limits on its duration and on the number of sessions."""

    def __init__(
        self, handler: "_Handler", sessions: set[asyncio.BaseTransport], **options: Any
    ) -> None:
        super().__init__(handler, **options)
        self._sessions = sessions
        self._connection: asyncio.BaseTransport | None = None
        self._end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._connection is None:  # not again after STARTTLS
            if len(self._sessions) >= MAX_SESSIONS and isinstance(transport, asyncio.Transport):
                transport.write(b"421 4.7.0 Too many sessions\r\n")
                transport.close()
            self._connection = transport
            self._sessions.add(transport)
            self._end = self.loop.call_later(SESSION_TIMEOUT_S, transport.close)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self._end:
            self._end.cancel()
        if self._connection:
            self._sessions.discard(self._connection)
        super().connection_lost(error)


class _Handler:
    """What aiosmtpd calls; the names are its own (`handle_COMMAND`)."""

    def __init__(self, store: MailStore) -> None:
        self._store = store

    async def handle_EHLO(  # noqa: N802
        self,
        _server: SMTP,
        session: Session,
        _envelope: Envelope,
        hostname: str,
        responses: list[str],
    ) -> list[str]:
        session.host_name = hostname
        return [*responses[:-1], "250-PIPELINING", responses[-1]]

    async def handle_RCPT(  # noqa: N802
        self,
        _server: SMTP,
        _session: Session,
        envelope: Envelope,
        address: str,
        options: Sequence[str],
    ) -> str:
        if len(envelope.rcpt_tos) >= MAX_RECIPIENTS:
            return "452 4.5.3 Too many recipients"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 OK"

    async def handle_DATA(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        raw = envelope.original_content or b""
        senders = _printable([envelope.mail_from or ""])
        try:
            await self._store.add(
                mail_from=senders[0], rcpt_to=_printable(envelope.rcpt_tos), raw=raw
            )
        except sqlite3.Error:
            return "452 4.3.1 The inbox cannot store mails now"
        return "250 2.0.0 Stored"

    async def handle_exception(self, _error: Exception) -> str:
        return "451 4.3.0 The inbox could not handle that"


def _accept_anyone(*_: object) -> AuthResult:
    return AuthResult(success=True)


def _printable(addresses: Sequence[str]) -> list[str]:
    """Bytes that are not UTF-8 came as lone surrogates, which no database or JSON takes."""
    return [a.encode("utf-8", "backslashreplace").decode("utf-8") for a in addresses]
