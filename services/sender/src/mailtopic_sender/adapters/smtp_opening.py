"""Opens sessions: connect, EHLO, STARTTLS, AUTH by aiosmtplib; then the transport is ours."""

import os
import socket
import ssl
from collections.abc import Sequence

import aiosmtplib

from mailtopic_runtime import Clock, Logger
from mailtopic_sender.adapters.oauth_tokens import NoToken
from mailtopic_sender.adapters.smtp_connecting import connect, ehlo_name, resolve
from mailtopic_sender.adapters.smtp_link import SmtpLink
from mailtopic_sender.adapters.smtp_login import Credentials, Login, LoginFailed, NoMechanism, Way
from mailtopic_sender.adapters.smtp_reply import SmtpReply
from mailtopic_sender.adapters.smtp_session import Answer, Capabilities, SmtpSession
from mailtopic_sender.adapters.smtp_settings import RelaySettings, Security, client_tls
from mailtopic_sender.adapters.smtp_steps import (
    Connected,
    Greeted,
    LoggedIn,
    Offered,
    Resolved,
    Secured,
    Watch,
    ignore,
)
from mailtopic_sender.adapters.smtp_streams import Streams
from mailtopic_sender.domain.replies import ReplyClass, ReplyRule, classify
from mailtopic_sender.domain.reply_text import split_enhanced

_TOO_OLD = ("UNSUPPORTED_PROTOCOL", "PROTOCOL_VERSION", "NO_PROTOCOLS", "VERSION_TOO_LOW")
NO_TOKEN = "no token: "  # noqa: S105 - text before the reason
_NO_EHLO = frozenset({500, 501, 502, 504, 550})
"""Reply codes to EHLO of servers without ESMTP, or that reject its parameter."""


class SessionRefused(Exception):  # noqa: N818 - an event, in the field's terms
    """No session could be opened; `answer` says why, as class and text.

    Attributes:
        answer: always blames the relay.
        interrupted: it is another attempt's failure, passed to one that waited.
    """

    def __init__(self, answer: Answer, *, interrupted: bool = False) -> None:
        super().__init__(answer.problem)
        self.answer = answer
        self.interrupted = interrupted

    @property
    def is_full(self) -> bool:
        """Whether the relay replied that it accepts no further connection for the moment."""
        reply = self.answer.reply
        return (
            self.answer.phase == "connect" and reply is not None and reply.code < 500  # noqa: PLR2004
        )


class SessionOpener:
    """Opens sessions to one relay. Safe for concurrent use."""

    def __init__(self, relay: RelaySettings, *, clock: Clock, log: Logger) -> None:
        """Load the certificates.

        Raises:
            SettingError: a CA file can't be used.
        """
        self._relay = relay
        self._tls = client_tls(relay)
        self._login = Login(relay, clock=clock)
        self._clock = clock
        self._log = log
        self._streams = Streams(relay.name, log=log)
        self._told_about_auth = False

    @property
    def problem(self) -> str | None:
        """Why there is no token to log in with; None otherwise."""
        return self._login.problem

    async def open(self, watch: Watch = ignore) -> SmtpSession:
        """Return a session on which a mail may be offered.

        An offered mechanism that doesn't work costs a connection, then another one is used; a
        refused token is renewed once.

        Args:
            watch: called with each completed step of each connection.

        Raises:
            SessionRefused: it can't be opened, for any reason.
        """
        credentials = await self._credentials()
        failed: set[Way] = set()
        has_renewed = False
        while True:
            try:
                if credentials is not None:
                    self._login.check(credentials)
                return await self._open(credentials, failed, watch)
            except LoginFailed as failure:
                if not failure.is_last:
                    continue
                refused = SessionRefused(_explain_login(failure, self._relay.reply_rules))
            if has_renewed or credentials is None or not self._login.may_renew(credentials):
                raise refused
            secret, credentials = credentials.secret, await self._credentials()
            has_renewed = True
            if credentials is not None and credentials.secret == secret:
                raise refused

    async def pause(self, pause_s: float) -> None:
        """Return after a pause, or when a file with credentials has changed since the last try."""
        await self._login.wait(pause_s)

    async def close(self) -> None:
        """Stop what runs besides the sessions."""
        await self._login.close()

    async def _credentials(self) -> Credentials | None:
        try:
            return await self._login.credentials()
        except NoToken as failure:
            answer = Answer(failure.reply_class, "auth", problem=f"{NO_TOKEN}{failure}")
            raise SessionRefused(answer) from None

    async def _open(
        self, credentials: Credentials | None, failed: set[Way], watch: Watch
    ) -> SmtpSession:
        opening = _Opening(watch)
        smtp: aiosmtplib.SMTP | None = None
        relay = self._relay
        try:
            found = await resolve(relay.host, relay.port, timeout_s=relay.timeouts.connect_s)
            watch(Resolved(tuple(dict.fromkeys(str(address[0]) for *_, address in found))))
            sock = await connect(found, timeout_s=relay.timeouts.connect_s)
            watch(Connected(str(sock.getpeername()[0])))
            smtp = self._client(sock)
            return await self._converse(smtp, opening, credentials, failed)
        except NoMechanism:
            problem = "the relay offers no way to log in that may be used"
            raise SessionRefused(Answer(ReplyClass.POLICY, "auth", problem=problem)) from None
        except (aiosmtplib.SMTPException, OSError, ValueError, RuntimeError) as error:
            rules = self._relay.reply_rules
            raise SessionRefused(_explain(error, opening.phase, rules)) from None
        finally:
            if smtp is not None and not opening.done:
                smtp.close()

    def _client(self, sock: socket.socket) -> aiosmtplib.SMTP:
        return aiosmtplib.SMTP(
            hostname=self._relay.host,
            sock=sock,
            local_hostname=self._relay.ehlo_name or ehlo_name(sock),
            timeout=self._relay.timeouts.command_s,
            use_tls=self._relay.security is Security.TLS,
            start_tls=False,
            tls_context=self._tls,
        )

    async def _converse(
        self,
        smtp: aiosmtplib.SMTP,
        opening: "_Opening",
        credentials: Credentials | None,
        failed: set[Way],
    ) -> SmtpSession:
        greeting = await smtp.connect(timeout=self._relay.timeouts.greeting_s)
        if self._relay.security is Security.TLS:
            opening.watch(Secured(smtp.get_transport_info("ssl_object")))
        opening.watch(Greeted(greeting.code, greeting.message))
        opening.phase = "ehlo"
        await _greet(smtp, opening.watch)
        if self._relay.security is Security.STARTTLS:
            opening.phase = "tls"
            if not smtp.supports_extension("starttls"):
                raise SessionRefused(
                    Answer(ReplyClass.POLICY, "tls", problem="the relay offers no STARTTLS")
                )
            await smtp.starttls()
            opening.watch(Secured(smtp.get_transport_info("ssl_object")))
            opening.phase = "ehlo"
            await _greet(smtp, opening.watch)
        opening.phase = "auth"
        logged_in = await self._log_in(smtp, credentials, failed, opening.watch)
        transport = smtp.transport
        if transport is None:
            raise aiosmtplib.SMTPServerDisconnected("connection lost")
        opening.done = True
        return SmtpSession(
            SmtpLink(transport),
            _capabilities(smtp, self._relay, logged_in=logged_in),
            self._relay.timeouts,
            opened_at_s=self._clock.monotonic_s(),
            reply_rules=self._relay.reply_rules,
            streams=self._streams,
        )

    async def _log_in(
        self,
        smtp: aiosmtplib.SMTP,
        credentials: Credentials | None,
        failed: set[Way],
        watch: Watch,
    ) -> bool:
        if credentials is None:
            return False
        if smtp.supports_extension("auth"):
            watch(LoggedIn(await self._login.log_in(smtp, credentials, failed)))
            return True
        watch(LoggedIn(None))
        if not self._told_about_auth:
            self._told_about_auth = True
            self._log.warning("relay.login_not_offered", relay=self._relay.name)
        return False


class _Opening:
    """How far an opening has come, to explain its failure."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.phase = "connect"
        self.done = False


async def _greet(smtp: aiosmtplib.SMTP, watch: Watch) -> None:
    try:
        await smtp.ehlo()
    except aiosmtplib.SMTPHeloError as error:
        if error.code not in _NO_EHLO:
            raise
        await smtp.helo()
    watch(Offered(smtp.esmtp_extensions))


def _capabilities(smtp: aiosmtplib.SMTP, relay: RelaySettings, *, logged_in: bool) -> Capabilities:
    offered = smtp.esmtp_extensions
    limit = offered.get("size", "").strip()
    return Capabilities(
        pipelining=relay.pipelining and "pipelining" in offered,
        smtputf8="smtputf8" in offered,
        eight_bit_mime="8bitmime" in offered,
        size="size" in offered,
        max_octets=int(limit) if limit.isascii() and limit.isdigit() else 0,
        logged_in=logged_in,
    )


def _explain_login(failed: LoginFailed, rules: Sequence[ReplyRule]) -> Answer:
    """Return the class and text for a login with no way left to try."""
    reply = failed.reply
    if reply is None:
        problem = "the relay breaks every login off"
        return Answer(ReplyClass.TRANSPORT, "auth", problem=problem)
    return _explain(aiosmtplib.SMTPAuthenticationError(reply.code, reply.message), "auth", rules)


def _explain(error: Exception, phase: str, rules: Sequence[ReplyRule]) -> Answer:
    """Return the class and text for a failure; never quotes a library's message."""
    if isinstance(error, aiosmtplib.SMTPResponseException) and error.code > 0:
        enhanced, text = split_enhanced(" ".join(error.message.split()))
        reply = SmtpReply(error.code, enhanced, text)
        found = classify(reply.code, enhanced, phase, text, rules=rules)
        # A reply that isn't a refusal (a 250 as banner) makes no sense: it isn't a relay.
        blames = found if found.blames_relay else ReplyClass.TRANSPORT
        return Answer(blames, phase, reply, problem=_REFUSALS.get(blames, "refused"))
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
