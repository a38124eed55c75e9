"""Logging in to a relay: which mechanism, in which form, and what a refusal means."""

import asyncio
import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import aiosmtplib
from aiosmtplib.auth import auth_crammd5_verify

from mailtopic_runtime import Clock
from mailtopic_sender.adapters.oauth_tokens import AccessToken, tokens_of
from mailtopic_sender.adapters.smtp_settings import Mechanism, RelaySettings, Security

_CHALLENGE = 334
_REFUSED = 535
_TOO_WEAK = 534
_TOO_WEAK_TEXT = re.compile(r"weak|mechanism", re.IGNORECASE)
_PASSWORDS_ARE_OFF = re.compile(r"\b5\.7\.(30|139)\b|basic authentication", re.IGNORECASE)
"""Microsoft 365: no other mechanism with a password works either."""
_LOOK_S = 1.0
_BY_PASSWORD = (Mechanism.PLAIN, Mechanism.LOGIN, Mechanism.CRAM_MD5)
_IN_THE_CLEAR = (Mechanism.CRAM_MD5, Mechanism.PLAIN, Mechanism.LOGIN)
"""CRAM-MD5 doesn't reveal the password, which matters only without TLS."""
_BY_TOKEN = (Mechanism.XOAUTH2, Mechanism.OAUTHBEARER)


class Way(NamedTuple):
    """A mechanism, and whether its initial response is sent with AUTH (RFC 4954 §4)."""

    mechanism: Mechanism
    sends_initial: bool


@dataclass(frozen=True, slots=True)
class Credentials:
    """The current credentials."""

    username: str = field(repr=False)
    secret: str = field(repr=False)
    token: AccessToken | None = None


class LoginFailed(Exception):  # noqa: N818 - an event, in the field's terms
    """The relay refused or aborted a login.

    Attributes:
        reply: its reply; None if it hung up or the reply was invalid.
        blames_credentials: whether any other mechanism would be refused as well, so that trying
            more of them would be guessing.
        is_last: whether there is no other way to try.
    """

    def __init__(
        self, reply: aiosmtplib.SMTPResponse | None, *, blames_credentials: bool = False
    ) -> None:
        super().__init__("login failed")
        self.reply = reply
        self.blames_credentials = blames_credentials
        self.is_last = blames_credentials


class NoMechanism(Exception):  # noqa: N818 - the same
    """The relay offers no permitted mechanism."""


class Login:
    """Logs in to one relay.

    One AUTH at a time: servers lock an account or an address after a handful of refusals, and what
    one connection learned is known before the next one tries.
    """

    def __init__(self, relay: RelaySettings, *, clock: Clock) -> None:
        """Read only certificates yet.

        Raises:
            SettingError: the CA file of the token endpoint can't be used.
        """
        self._relay = relay
        self._tokens = None
        if relay.oauth is not None and relay.username is not None:
            self._tokens = tokens_of(relay.oauth, relay.username, clock=clock)
        self._order = relay.mechanisms or _usual_order(relay)
        self._turn = asyncio.Lock()
        self._broken: set[Way] = set()
        self._refused: dict[str, LoginFailed] = {}
        self._is_new_token_refused = False
        self._files = FileWatch(relay.credential_files)

    @property
    def problem(self) -> str | None:
        """Why there is no token to log in with; None otherwise."""
        return None if self._tokens is None else self._tokens.problem

    async def credentials(self) -> Credentials | None:
        """Return the credentials; None if no login is configured.

        Raises:
            NoToken: there is no token.
        """
        relay = self._relay
        self._files.note()
        username = _read(relay.username_file) or relay.username
        if username is None:
            return None
        if self._tokens is not None:
            token = await self._tokens.get()
            return Credentials(username, token.value, token)
        password = _read(relay.password_file) or relay.password
        return None if password is None else Credentials(username, password)

    async def log_in(
        self, smtp: aiosmtplib.SMTP, credentials: Credentials, failed: set[Way]
    ) -> Mechanism:
        """Log in on a connection that offers AUTH; returns the mechanism used.

        Args:
            smtp: a connection after EHLO.
            credentials: from `credentials`.
            failed: what failed on earlier connections of the same opening; extended here.

        Raises:
            LoginFailed: it was refused.
            NoMechanism: the relay offers no permitted mechanism.
            aiosmtplib.SMTPException: a temporary refusal, or no reply.
        """
        async with self._turn:
            # Another connection may have been refused while this one waited.
            self.check(credentials)
            ways = self._ways(smtp.server_auth_methods)
            way = self._next_way(ways, failed)
            try:
                await _converse(smtp, way, credentials, self._relay)
            except LoginFailed as failure:
                self._judge(failure, way, ways, failed)
                if failure.blames_credentials:
                    self._refused[credentials.secret] = failure
                    if credentials.token is not None:
                        self._is_new_token_refused |= credentials.token.is_new
                raise
            self._broken |= failed
            self._forget_refusals()
            return way.mechanism

    def check(self, credentials: Credentials) -> None:
        """Raise if the relay has refused these credentials since the last pause.

        Raises:
            LoginFailed: the same error as then.
        """
        refusal = self._refused.get(credentials.secret)
        if refusal is not None:
            raise refusal

    def may_renew(self, credentials: Credentials) -> bool:
        """Whether a refused token may be replaced by another one; forgets it if so."""
        token = credentials.token
        if token is None or self._tokens is None or self._is_new_token_refused:
            return False
        self._tokens.forget(token)
        return True

    async def wait(self, pause_s: float) -> None:
        """Return after a pause, or when a file with credentials has changed since the last try."""
        loop = asyncio.get_running_loop()
        end_s = loop.time() + pause_s
        # Files are polled: an event would need a watcher that understands mounted Secrets.
        while (left_s := end_s - loop.time()) > 0 and not self._files.have_changed():  # noqa: ASYNC110
            await asyncio.sleep(min(left_s, _LOOK_S) if self._files else left_s)
        self._forget_refusals()

    async def close(self) -> None:
        """Stop running requests."""
        if self._tokens is not None:
            await self._tokens.close()

    def _forget_refusals(self) -> None:
        self._refused.clear()
        self._is_new_token_refused = False

    def _ways(self, offered: Sequence[str]) -> list[Way]:
        """All that may be tried, in order: each mechanism's usual form before any other form."""
        known = {name.upper() for name in offered}
        fitting = [mechanism for mechanism in self._order if mechanism in known]
        usual = [Way(mechanism, _sends_initial(mechanism)) for mechanism in fitting]
        return usual + [
            Way(mechanism, not initial)
            for mechanism, initial in usual
            if mechanism is not Mechanism.CRAM_MD5
        ]

    def _next_way(self, ways: Sequence[Way], failed: set[Way]) -> Way:
        if not ways:
            raise NoMechanism
        left = [way for way in ways if way not in self._broken | failed]
        if not left:
            # Their cause may be fixed.
            self._broken.clear()
            left = [way for way in ways if way not in failed] or list(ways)
        return left[0]

    def _judge(self, failure: LoginFailed, way: Way, ways: Sequence[Way], failed: set[Way]) -> None:
        """Determine whether there is another way."""
        failed.add(way)
        if way.mechanism is Mechanism.CRAM_MD5 and any(
            other.mechanism is not way.mechanism for other in ways
        ):
            # Servers with hashed passwords may offer it without being able to check it.
            failure.blames_credentials = False
        left = set(ways) - failed - self._broken
        failure.is_last = failure.blames_credentials or not left
        if not left:
            self._broken.clear()


class FileWatch:
    """Detects that files were written or replaced, even with the same content."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files
        self._known = self._state()

    def __bool__(self) -> bool:
        return bool(self._files)

    def note(self) -> None:
        """Take the current files as known."""
        self._known = self._state()

    def have_changed(self) -> bool:
        """Whether one was changed since `note`."""
        return self._state() != self._known

    def _state(self) -> list[tuple[int, int, int] | None]:
        return [_stamp(file) for file in self._files]


def _usual_order(relay: RelaySettings) -> tuple[Mechanism, ...]:
    if relay.oauth is not None:
        return _BY_TOKEN
    return _IN_THE_CLEAR if relay.security is Security.NONE else _BY_PASSWORD


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _read(file: Path | None) -> str | None:
    """A file's current content; None if there is none, or it can't be read."""
    try:
        return None if file is None else file.read_text(encoding="utf-8-sig").rstrip("\r\n")
    except (OSError, UnicodeDecodeError):
        return None


def _sends_initial(mechanism: Mechanism) -> bool:
    """Whether the initial response is sent with AUTH; some servers accept none with LOGIN."""
    return mechanism not in {Mechanism.LOGIN, Mechanism.CRAM_MD5}


async def _converse(
    smtp: aiosmtplib.SMTP, way: Way, credentials: Credentials, relay: RelaySettings
) -> None:
    answers = _answers(way.mechanism, credentials, relay)
    words = [answers.pop(0)] if way.sends_initial else []
    sent_initial = words[0] if words else None
    try:
        reply = await smtp.execute_command(b"AUTH", way.mechanism.encode(), *words)
        while reply.code == _CHALLENGE:
            answer = _next_answer(way.mechanism, reply.message, answers, credentials, sent_initial)
            sent_initial = None
            reply = await smtp.execute_command(answer)
    except aiosmtplib.SMTPServerDisconnected:
        raise LoginFailed(None) from None
    if 200 <= reply.code < 300:  # noqa: PLR2004 - RFC 5321 §4.2.1
        return
    if reply.code < 500:  # noqa: PLR2004
        raise aiosmtplib.SMTPAuthenticationError(reply.code, reply.message)
    raise LoginFailed(reply, blames_credentials=_blames_credentials(reply))


def _next_answer(
    mechanism: Mechanism,
    challenge: str,
    answers: list[bytes],
    credentials: Credentials,
    sent_initial: bytes | None,
) -> bytes:
    if mechanism is Mechanism.CRAM_MD5 and not answers:
        raise LoginFailed(None)
    if mechanism is Mechanism.CRAM_MD5:
        answers.clear()
        try:
            return auth_crammd5_verify(credentials.username, credentials.secret, challenge)
        except aiosmtplib.SMTPAuthenticationError:
            raise LoginFailed(None) from None
    if sent_initial is not None and mechanism is not Mechanism.LOGIN and not challenge.strip():
        return sent_initial  # it ignored the initial response
    if not answers:
        raise LoginFailed(None)
    return answers.pop(0)


def _answers(mechanism: Mechanism, credentials: Credentials, relay: RelaySettings) -> list[bytes]:
    """The successive responses, in base64. With tokens, the last one ends a refusal."""
    username, secret = credentials.username, credentials.secret
    if mechanism is Mechanism.PLAIN:
        return [_encoded(f"\0{username}\0{secret}")]
    if mechanism is Mechanism.LOGIN:
        return [_encoded(username), _encoded(secret)]
    if mechanism is Mechanism.XOAUTH2:
        return [_encoded(f"user={username}\1auth=Bearer {secret}\1\1"), b""]
    if mechanism is Mechanism.OAUTHBEARER:
        name = username.replace("=", "=3D").replace(",", "=2C")  # RFC 5801 §4
        where = f"host={relay.host}\1port={relay.port}"
        # RFC 7628 §3.2.3: a refusal is acknowledged with one ^A.
        return [_encoded(f"n,a={name},\1{where}\1auth=Bearer {secret}\1\1"), _encoded("\1")]
    return [b"the answer to the challenge"]


def _encoded(text: str) -> bytes:
    return base64.b64encode(text.encode())


def _blames_credentials(reply: aiosmtplib.SMTPResponse) -> bool:
    """Whether another mechanism would be refused as well."""
    if reply.code == _TOO_WEAK:
        return _TOO_WEAK_TEXT.search(reply.message) is None
    return reply.code == _REFUSED or _PASSWORDS_ARE_OFF.search(reply.message) is not None
