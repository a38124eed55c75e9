"""Opens sessions: connect, EHLO, STARTTLS, AUTH by aiosmtplib; then the transport is ours."""

import asyncio
import os
import socket
import ssl
from collections.abc import Sequence

import aiosmtplib

from mailtopic_runtime import Clock, Logger
from mailtopic_sender.adapters.smtp_link import SmtpLink
from mailtopic_sender.adapters.smtp_reply import SmtpReply
from mailtopic_sender.adapters.smtp_session import Answer, Capabilities, SmtpSession
from mailtopic_sender.adapters.smtp_settings import RelaySettings, Security, client_tls
from mailtopic_sender.domain.replies import ReplyClass, ReplyRule, classify
from mailtopic_sender.domain.reply_text import split_enhanced

_TOO_OLD = ("UNSUPPORTED_PROTOCOL", "PROTOCOL_VERSION", "NO_PROTOCOLS", "VERSION_TOO_LOW")
_UNKNOWN_COMMAND = frozenset({500, 502})


class SessionRefused(Exception):  # noqa: N818 - an event, told in the words of the trade
    """No session could be opened; `answer` says why, in classes and in words.

    Attributes:
        answer: blames the relay, always.
        interrupted: it is another attempt's failure, handed to one that waited.
    """

    def __init__(self, answer: Answer, *, interrupted: bool = False) -> None:
        super().__init__(answer.problem)
        self.answer = answer
        self.interrupted = interrupted

    @property
    def is_full(self) -> bool:
        """Whether the relay answered that, for the moment, it wants no further connection."""
        reply = self.answer.reply
        return (
            self.answer.phase == "connect" and reply is not None and reply.code < 500  # noqa: PLR2004
        )


class SessionOpener:
    """Opens sessions to one relay. Many may be opened at the same time."""

    def __init__(self, relay: RelaySettings, *, clock: Clock, log: Logger) -> None:
        """Load the certificates.

        Raises:
            SettingError: the CA file can't be used.
        """
        self._relay = relay
        self._tls = client_tls(relay)
        self._clock = clock
        self._log = log
        self._ehlo_name = relay.ehlo_name or _host_name()
        self._told_about_auth = False

    async def open(self) -> SmtpSession:
        """Return a session on which a mail may be offered.

        Raises:
            SessionRefused: for whatever reason it can't be opened.
        """
        opening = _Opening()
        smtp: aiosmtplib.SMTP | None = None
        try:
            sock = await self._connect()
            smtp = self._client(sock)
            return await self._converse(smtp, opening)
        except (aiosmtplib.SMTPException, OSError, ValueError, RuntimeError) as error:
            rules = self._relay.reply_rules
            raise SessionRefused(_explain(error, opening.phase, rules)) from None
        finally:
            if smtp is not None and not opening.done:
                smtp.close()

    async def _connect(self) -> socket.socket:
        """Connect to the first of the host's addresses that takes it."""
        loop = asyncio.get_running_loop()
        relay = self._relay
        async with asyncio.timeout(relay.timeouts.connect_s):
            found = await loop.getaddrinfo(relay.host, relay.port, type=socket.SOCK_STREAM)
            failure: OSError = OSError("the host has no address")
            for family, kind, protocol, _, address in found:
                sock = socket.socket(family, kind, protocol)
                sock.setblocking(False)
                try:
                    await loop.sock_connect(sock, address)
                except OSError as error:
                    sock.close()
                    failure = error
                except BaseException:
                    sock.close()
                    raise
                else:
                    return sock
        raise failure

    def _client(self, sock: socket.socket) -> aiosmtplib.SMTP:
        return aiosmtplib.SMTP(
            hostname=self._relay.host,
            sock=sock,
            local_hostname=self._ehlo_name,
            timeout=self._relay.timeouts.session_s,
            use_tls=self._relay.security is Security.TLS,
            start_tls=False,
            tls_context=self._tls,
        )

    async def _converse(self, smtp: aiosmtplib.SMTP, opening: "_Opening") -> SmtpSession:
        await smtp.connect(timeout=self._relay.timeouts.banner_s)
        opening.phase = "ehlo"
        await _greet(smtp)
        if self._relay.security is Security.STARTTLS:
            opening.phase = "tls"
            if not smtp.supports_extension("starttls"):
                raise SessionRefused(
                    Answer(ReplyClass.POLICY, "tls", problem="the relay offers no STARTTLS")
                )
            await smtp.starttls()
            opening.phase = "ehlo"
            await _greet(smtp)
        opening.phase = "auth"
        logged_in = await self._log_in(smtp)
        transport = smtp.transport
        if transport is None:
            raise aiosmtplib.SMTPServerDisconnected("connection lost")
        opening.done = True
        return SmtpSession(
            SmtpLink(transport),
            _capabilities(smtp, logged_in=logged_in),
            self._relay.timeouts,
            opened_at_s=self._clock.monotonic_s(),
            reply_rules=self._relay.reply_rules,
        )

    async def _log_in(self, smtp: aiosmtplib.SMTP) -> bool:
        relay = self._relay
        if relay.username is None or relay.password is None:
            return False
        if smtp.supports_extension("auth"):
            await smtp.login(relay.username, relay.password)
            return True
        if not self._told_about_auth:
            self._told_about_auth = True
            self._log.warning("relay.login_not_offered", relay=relay.name)
        return False


class _Opening:
    """How far an opening has come, for whoever has to explain its failure."""

    def __init__(self) -> None:
        self.phase = "connect"
        self.done = False


async def _greet(smtp: aiosmtplib.SMTP) -> None:
    try:
        await smtp.ehlo()
    except aiosmtplib.SMTPHeloError as error:
        if error.code not in _UNKNOWN_COMMAND:
            raise
        await smtp.helo()


def _capabilities(smtp: aiosmtplib.SMTP, *, logged_in: bool) -> Capabilities:
    offered = smtp.esmtp_extensions
    limit = offered.get("size", "").strip()
    return Capabilities(
        pipelining="pipelining" in offered,
        smtputf8="smtputf8" in offered,
        eight_bit_mime="8bitmime" in offered,
        size="size" in offered,
        max_octets=int(limit) if limit.isascii() and limit.isdigit() else 0,
        logged_in=logged_in,
    )


def _host_name() -> str:
    """This host's name if it may stand in EHLO; looked up locally, because DNS can hang."""
    name = socket.gethostname()
    allowed = name.isascii() and name.replace("-", "").replace(".", "").isalnum()
    return name if allowed else "localhost"


def _explain(error: Exception, phase: str, rules: Sequence[ReplyRule]) -> Answer:
    """Find the class and the words for a failure; never quotes what a library says of us."""
    if isinstance(error, aiosmtplib.SMTPResponseException) and error.code > 0:
        enhanced, text = split_enhanced(" ".join(error.message.split()))
        reply = SmtpReply(error.code, enhanced, text)
        found = classify(reply.code, enhanced, phase, text, rules=rules)
        # What is no refusal (a 250 for a banner) can't be understood: the relay is no relay.
        blames = found if found.blames_relay else ReplyClass.TRANSPORT
        return Answer(blames, phase, reply, problem=_REFUSALS.get(blames, "refused"))
    if phase == "auth" and not isinstance(error, OSError):
        return Answer(ReplyClass.AUTH, phase, problem="no way to log in that both sides know")
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError | socket.gaierror):
        cause = cause.__cause__
    if isinstance(cause, ssl.SSLError):
        return _explain_tls(cause)
    return Answer(ReplyClass.TRANSPORT, phase, problem=_words(cause or error))


_REFUSALS = {
    ReplyClass.AUTH: "login refused",
    ReplyClass.BLOCKED: "the relay refuses this host",
    ReplyClass.POLICY: "STARTTLS refused",
    ReplyClass.QUOTA: "the account's allowance is used up",
}


def _explain_tls(error: ssl.SSLError) -> Answer:
    if isinstance(error, ssl.SSLCertVerificationError):
        why = (error.verify_message or "it can't be verified").rstrip(".")
        return Answer(ReplyClass.POLICY, "tls", problem=f"certificate not trusted: {why}")
    reason = error.reason or "no reason given"
    if any(sign in reason for sign in _TOO_OLD):
        return Answer(ReplyClass.POLICY, "tls", problem="the relay's TLS is older than 1.2")
    return Answer(ReplyClass.TRANSPORT, "tls", problem=f"TLS handshake failed: {reason}")


def _words(error: BaseException) -> str:
    if isinstance(error, socket.gaierror):
        return "host name not found"
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return "the relay closed the connection"
