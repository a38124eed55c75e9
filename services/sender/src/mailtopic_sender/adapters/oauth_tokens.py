"""The access token of a relay: one for all of its connections, renewed before it expires."""

import asyncio
from dataclasses import dataclass, field
from typing import Protocol

from mailtopic_runtime import Clock
from mailtopic_sender.adapters.smtp_settings import OAuthSettings
from mailtopic_sender.domain.replies import ReplyClass

_PAUSES_S = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0)
"""The pauses after an endpoint gave no token; the last one repeats."""
_LONGEST_LEAD_S = 300.0
_LARGEST_FILE_OCTETS = 65_536


class NoToken(Exception):  # noqa: N818 - an event, in the field's terms
    """There is no token; str is the reason, in one line without secrets.

    Attributes:
        reply_class: AUTH if the endpoint refused, POLICY if it can't be trusted, TRANSPORT if
            it can't be reached or its response can't be parsed.
    """

    def __init__(self, reply_class: ReplyClass, problem: str) -> None:
        super().__init__(problem)
        self.reply_class = reply_class


@dataclass(frozen=True, slots=True)
class FetchedToken:
    """A token, and its remaining lifetime, seconds."""

    value: str = field(repr=False)
    lifetime_s: float


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token to log in with.

    Attributes:
        is_new: whether it was fetched for this call, so that fetching another wouldn't help.
    """

    value: str = field(repr=False)
    is_new: bool


class Fetches(Protocol):
    """A source of tokens, such as `TokenEndpoint`."""

    async def fetch(self) -> FetchedToken:
        """Return a token; raises NoToken."""
        ...


class AccessTokens:
    """Provides the token of one relay.

    A quarter of its lifetime before it expires (five minutes at most) it is renewed while in use.
    There is one request to the endpoint at a time, however many connections need a token. An
    unreachable endpoint is tried again after growing pauses, when a login needs a token.
    """

    def __init__(self, endpoint: Fetches, *, clock: Clock) -> None:
        self._endpoint = endpoint
        self._clock = clock
        self._token: FetchedToken | None = None
        self._fetched_at_s = 0.0
        self._flight: asyncio.Task[None] | None = None
        self._failure: NoToken | None = None
        self._failures = 0
        self._is_wanted = False
        self._resting_until_s = float("-inf")

    @property
    def problem(self) -> str | None:
        """Why there is no token; None while there is one or none was requested.

        A token that expires while no login needs one is no problem yet, even if its renewal failed.
        """
        if self._failure is None or self._left_s > 0 or not self._is_wanted:
            return None
        return str(self._failure)

    async def get(self) -> AccessToken:
        """Return a token that is valid for a while.

        Raises:
            NoToken: there is none.
        """
        token = self._token
        self._is_wanted = self._left_s <= 0
        if token is not None:
            lead_s = min(_LONGEST_LEAD_S, token.lifetime_s / 4)
            if self._left_s > lead_s:
                return AccessToken(token.value, is_new=False)
            self._begin()
            # In the first half of that time, the old one is used.
            if self._left_s > lead_s / 2:
                return AccessToken(token.value, is_new=False)
        flight = self._begin()
        if flight is not None:
            await asyncio.shield(flight)
        if self._token is not None and self._left_s > 0:
            return AccessToken(self._token.value, is_new=self._token is not token)
        raise self._failure or NoToken(ReplyClass.TRANSPORT, "no token was given")

    def forget(self, token: AccessToken) -> None:
        """Stop using this token: the relay refused it."""
        if self._token is not None and self._token.value == token.value:
            self._token = None

    async def close(self) -> None:
        """Stop running requests."""
        if self._flight is not None:
            self._flight.cancel()
            await asyncio.gather(self._flight, return_exceptions=True)
            self._flight = None

    @property
    def _left_s(self) -> float:
        if self._token is None:
            return 0.0
        return self._fetched_at_s + self._token.lifetime_s - self._clock.monotonic_s()

    def _begin(self) -> asyncio.Task[None] | None:
        """Start fetching a token unless that is under way or the endpoint is in a pause."""
        if self._flight is None and self._clock.monotonic_s() >= self._resting_until_s:
            self._flight = asyncio.create_task(self._fetch(), name="token")
        return self._flight

    async def _fetch(self) -> None:
        asked_at_s = self._clock.monotonic_s()
        try:
            token = await self._endpoint.fetch()
        except NoToken as failure:
            self._failure = failure
            # After a refusal the relay's breaker pauses; a changed file ends that.
            if failure.reply_class is not ReplyClass.AUTH:
                pause_s = _PAUSES_S[min(self._failures, len(_PAUSES_S) - 1)]
                self._resting_until_s = self._clock.monotonic_s() + pause_s
                self._failures += 1
        else:
            self._token, self._fetched_at_s = token, asked_at_s
            self._failure, self._failures = None, 0
        finally:
            self._flight = None


class TokenFile:
    """A token file that another program renews: read for each login."""

    def __init__(self, oauth: OAuthSettings) -> None:
        self._path = oauth.token_file
        self.problem: str | None = None
        """Why there is no token; None while there is one or none was requested."""

    async def get(self) -> AccessToken:
        """Return the token in the file.

        Raises:
            NoToken: it can't be read, or holds no token.
        """
        try:
            value = self._read()
        except NoToken as failure:
            self.problem = str(failure)
            raise
        self.problem = None
        return AccessToken(value, is_new=False)

    def _read(self) -> str:
        if self._path is None:
            raise NoToken(ReplyClass.AUTH, "there is no token_file")
        try:
            with self._path.open(encoding="ascii") as file:
                value = file.read(_LARGEST_FILE_OCTETS).strip()
        except OSError as error:
            problem = f"the token file can't be read: {error.strerror}"
            raise NoToken(ReplyClass.TRANSPORT, problem) from None
        except UnicodeDecodeError:
            raise NoToken(ReplyClass.TRANSPORT, "the token file holds no token") from None
        if not value or any(mark.isspace() or not mark.isprintable() for mark in value):
            raise NoToken(ReplyClass.TRANSPORT, "the token file holds no token")
        return value

    def forget(self, token: AccessToken) -> None:
        """Do nothing: the next login reads the file."""

    async def close(self) -> None:
        """Do nothing."""


def tokens_of(oauth: OAuthSettings, username: str, *, clock: Clock) -> AccessTokens | TokenFile:
    """Return the source of a relay's tokens.

    Raises:
        SettingError: the CA file of the token endpoint can't be used.
    """
    if oauth.token_file is not None:
        return TokenFile(oauth)
    # Only relays with OAuth need an HTTP client.
    from mailtopic_sender.adapters.oauth_endpoint import TokenEndpoint  # noqa: PLC0415

    return AccessTokens(TokenEndpoint(oauth, username), clock=clock)
