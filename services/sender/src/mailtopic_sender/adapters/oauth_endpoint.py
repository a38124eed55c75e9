"""Requests access tokens from a token endpoint, with Authlib (RFC 6749, RFC 7523)."""

import asyncio
import logging
import re
import ssl
from typing import Any

import httpx2
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from authlib.oauth2.rfc7523 import JWTBearerGrant
from joserfc.jwk import RSAKey

from mailtopic_sender.adapters.oauth_tokens import FetchedToken, NoToken
from mailtopic_sender.adapters.service_account import parse_service_account
from mailtopic_sender.adapters.smtp_settings import OAuthSettings, tls_context
from mailtopic_sender.domain.replies import ReplyClass

_TIMEOUT_S = 10.0
"""The timeout for connecting, and for each read and write."""
_WHOLE_TIMEOUT_S = 20.0
_LIFETIME_S = 300.0
"""The lifetime of a token that came without one (RFC 6749 §5.1 only recommends it)."""
_LONGEST_LIFETIME_S = 86_400.0
_PASSING = frozenset({"temporarily_unavailable", "server_error", "slow_down"})
_ERROR = re.compile(r"[a-z_]{1,40}")
_MICROSOFT = re.compile(r"AADSTS\d{1,10}")
_VISIBLE = re.compile(r"[\x21-\x7e]{1,16000}")
GOOGLE_SCOPE = "https://mail.google.com/"

for _name in ("httpx2", "httpcore2", "authlib"):
    # At lower levels, they log requests, whose content must not be logged.
    logging.getLogger(_name).setLevel(logging.WARNING)


class TokenEndpoint:
    """Requests tokens for one account. Secrets are read from their files each time."""

    def __init__(self, oauth: OAuthSettings, username: str) -> None:
        """Load the certificates.

        Raises:
            SettingError: the CA file can't be used.
        """
        self._oauth = oauth
        self._username = username
        self._rotated: str | None = None
        self._tls = tls_context(oauth.ca_file, oauth.ca_setting, whose="the token endpoint's")

    async def fetch(self) -> FetchedToken:
        """Return a token.

        Raises:
            NoToken: there is none, for any reason.
        """
        try:
            async with asyncio.timeout(_WHOLE_TIMEOUT_S), self._client() as client:
                return _token(await self._ask(client))
        except OAuthError as error:
            raise _refusal(error) from None
        except httpx2.HTTPStatusError as error:
            code = error.response.status_code
            raise NoToken(ReplyClass.TRANSPORT, f"the token endpoint answers {code}") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise _unreachable(error) from None
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            problem = "the token endpoint's answer is no token"
            raise NoToken(ReplyClass.TRANSPORT, problem) from None

    def _client(self) -> Any:
        oauth = self._oauth
        return AsyncOAuth2Client(
            client_id=oauth.client_id or None,
            client_secret=self._secret("client_secret"),
            scope=oauth.scope or None,
            verify=self._tls,
            timeout=_TIMEOUT_S,
            follow_redirects=False,
        )

    async def _ask(self, client: Any) -> Any:
        url = self._oauth.token_url
        key = self._secret("service_account")
        if key is not None:
            return await self._ask_with_assertion(client, key)
        refresh_token = self._secret("refresh_token")
        if refresh_token is None:
            return await client.fetch_token(url, grant_type="client_credentials")
        used = self._rotated or refresh_token
        try:
            found = await client.refresh_token(url, refresh_token=used)
        except OAuthError:
            # A provider's new one may expire before the one in the settings, which may be newer.
            self._rotated = None
            raise
        given = found.get("refresh_token")
        self._rotated = given if isinstance(given, str) and given != refresh_token else None
        return found

    async def _ask_with_assertion(self, client: Any, key: str) -> Any:
        try:
            account = parse_service_account(key)
        except ValueError as error:
            raise NoToken(ReplyClass.AUTH, f"the service account's key {error}") from None
        url = self._oauth.token_url or account.token_url
        header = {"alg": "RS256", "typ": "JWT"}
        if account.key_id:
            header["kid"] = account.key_id
        assertion = JWTBearerGrant.sign(
            RSAKey.import_key(account.private_key),
            issuer=account.email,
            audience=url,
            subject=self._username,
            header=header,
            claims={"scope": self._oauth.scope or GOOGLE_SCOPE},
        )
        return await client.fetch_token(
            url, grant_type=JWTBearerGrant.GRANT_TYPE, assertion=assertion, auth=httpx2.Auth()
        )

    def _secret(self, name: str) -> str | None:
        """A secret's current value; the initial one while its file can't be read."""
        known: str | None = getattr(self._oauth, name)
        file = self._oauth.files.get(name)
        if file is None:
            return known
        try:
            return file.read_text(encoding="utf-8").rstrip("\r\n") or known
        except (OSError, UnicodeDecodeError):
            return known


def _token(found: Any) -> FetchedToken:
    value, kind = found["access_token"], found.get("token_type", "bearer")
    if not isinstance(value, str) or not _VISIBLE.fullmatch(value):
        raise ValueError("no token")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise ValueError("no bearer token")
    given = found.get("expires_in")
    lifetime_s = _LIFETIME_S if given is None else float(given)
    if not 0 < lifetime_s < float("inf"):
        raise ValueError("no lifetime")
    return FetchedToken(value, min(lifetime_s, _LONGEST_LIFETIME_S))


def _refusal(error: OAuthError) -> NoToken:
    """Describe an error of RFC 6749 §5.2, without its description, which may quote the request."""
    code = str(error.error or "")
    words = code if _ERROR.fullmatch(code) else "no reason given"
    number = _MICROSOFT.search(str(error.description or ""))
    if number is not None:
        words = f"{words}, {number[0]}"
    passing = code in _PASSING
    return NoToken(
        ReplyClass.TRANSPORT if passing else ReplyClass.AUTH,
        f"the token endpoint refuses: {words}",
    )


def _unreachable(error: BaseException) -> NoToken:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            why = (cause.verify_message or "it can't be verified").rstrip(".")
            problem = f"the token endpoint's certificate is not trusted: {why}"
            return NoToken(ReplyClass.POLICY, problem)
        cause = cause.__cause__ or cause.__context__
    late = isinstance(error, TimeoutError | httpx2.TimeoutException)
    problem = "the token endpoint can't be reached" + (": timed out" if late else "")
    return NoToken(ReplyClass.TRANSPORT, problem)
