"""Settings for logging in to a relay: passwords and OAuth tokens."""

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BeforeValidator, SecretStr, field_validator

from mailtopic_runtime import SettingError, SettingsGroup, secret_file
from mailtopic_sender.adapters.service_account import parse_service_account
from mailtopic_sender.adapters.smtp_settings import Mechanism, OAuthSettings

SECRETS = ("client_secret", "refresh_token", "service_account")
_KNOWN = ", ".join(Mechanism)


def _mechanisms(value: Any) -> Any:
    if not isinstance(value, list | tuple):
        return value
    names = [name.upper() if isinstance(name, str) else name for name in value]
    if any(name not in set(Mechanism) for name in names):
        raise ValueError(f"must be a list of {_KNOWN}")
    if len(set(names)) != len(names):
        raise ValueError("must differ from each other")
    return names


Mechanisms = Annotated[tuple[Mechanism, ...], BeforeValidator(_mechanisms)]


class OAuthFields(SettingsGroup):
    """The OAuth settings, without secrets."""

    token_url: str | None = None
    """The token endpoint, https; unset: the one in the service account's key."""

    client_id: str | None = None
    """The application that requests tokens."""

    scope: str | None = None
    """The requested scope, such as https://outlook.office365.com/.default; unset: for a service
    account https://mail.google.com/, else none.
    """

    token_file: Path | None = None
    """A file with an access token that another program renews, instead of all the others."""

    ca_file: Path | None = None
    """PEM file of the authorities that sign the token endpoint's certificate; unset: the
    system's.
    """

    @field_validator("token_url")
    @classmethod
    def _is_safe(cls, url: str | None) -> str | None:
        if url is not None:
            check_token_url(url)
        return url


class OAuthGroup(OAuthFields):
    """Tokens instead of a password; below MAILTOPIC_SMTP__OAUTH__."""

    client_secret: SecretStr | None = None
    """The application's secret; alone, it gets tokens by client credentials."""

    refresh_token: SecretStr | None = None
    """A refresh token, obtained by a user's consent."""

    service_account: SecretStr | None = None
    """The JSON key of a Google service account that may act for the username."""


class OAuthEntry(OAuthFields):
    """Tokens instead of a password; oauth of an entry of MAILTOPIC_RELAYS."""

    client_secret_file: Path | None = None
    """File with the application's secret; alone, it gets tokens by client credentials."""

    refresh_token_file: Path | None = None
    """File with a refresh token, obtained by a user's consent."""

    service_account_file: Path | None = None
    """The JSON key of a Google service account that may act for the username."""


def check_token_url(url: str) -> None:
    """Check that secrets may be sent there.

    Raises:
        ValueError: it isn't a URL, or has no TLS.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    if not host or parts.scheme not in {"http", "https"} or parts.username is not None:
        raise ValueError(
            "must be the token endpoint's URL, such as https://login.example.com/token"
        )
    if parts.scheme == "http" and not _is_loopback(host):
        raise ValueError("must begin with https://: secrets would be readable on their way")


def check_mechanisms(
    mechanisms: Sequence[Mechanism], *, oauth: bool, name: Callable[[str], str]
) -> None:
    """Check that a relay's mechanisms fit its credentials.

    Args:
        mechanisms: those in its settings.
        oauth: whether tokens are configured.
        name: returns the user's name for a setting.

    Raises:
        ValueError: they don't.
    """
    wrong = [each for each in mechanisms if each.needs_token != oauth]
    if wrong and oauth:
        raise ValueError(
            f"{name('mechanisms')} names {wrong[0]}, which takes a password: with"
            " OAuth, write XOAUTH2, OAUTHBEARER or both"
        )
    if wrong:
        raise ValueError(
            f"{name('mechanisms')} names {wrong[0]}, which takes a token: set"
            f" {name('oauth')}, or write PLAIN, LOGIN or CRAM-MD5"
        )


def check_oauth(oauth: OAuthFields, *, name: Callable[[str], str]) -> None:
    """Check that there is exactly one source of tokens, with all that it needs.

    Args:
        oauth: the settings; secrets may be files.
        name: returns the user's name for a setting of oauth.

    Raises:
        ValueError: a part is missing or superfluous; names the setting.
    """
    given = {field for field in type(oauth).model_fields if getattr(oauth, field) is not None}
    secrets = {each.removesuffix("_file") for each in given} & set(SECRETS)
    shown = {
        each: name(f"{each}_file") if f"{each}_file" in given else name(each) for each in secrets
    }
    if oauth.token_file is not None:
        beside = sorted(given - {"token_file"})
        if beside:
            raise ValueError(
                f"{name(beside[0])} can't stand beside {name('token_file')}: the"
                " file holds all that is needed"
            )
        return
    if "service_account" in secrets:
        for other in sorted(secrets - {"service_account"}):
            raise ValueError(
                f"{shown[other]} can't stand beside {shown['service_account']}: keep one of them"
            )
        if oauth.client_id is not None:
            raise ValueError(
                f"{name('client_id')} can't stand beside {shown['service_account']}:"
                " the key names its account"
            )
        return
    _check_client(oauth, secrets, name)


def _check_client(oauth: OAuthFields, secrets: set[str], name: Callable[[str], str]) -> None:
    suffix = "_file" if isinstance(oauth, OAuthEntry) else ""
    if not secrets:
        first, *others = (name(f"{each}{suffix}") for each in SECRETS)
        others.append(name("token_file"))
        raise ValueError(f"{first} is required (or {', '.join(others)}): where tokens come from")
    if oauth.client_id is None:
        raise ValueError(f"{name('client_id')} is required: the application that asks for tokens")
    if oauth.token_url is None:
        raise ValueError(f"{name('token_url')} is required: the token endpoint, https")


def oauth_group(group: OAuthGroup, prefix: str) -> OAuthSettings:
    """Return the only relay's OAuth settings for the adapter.

    Raises:
        SettingError: the service account's key is invalid.
    """
    texts = {each: _text(getattr(group, each)) for each in SECRETS}
    files = {each: secret_file(f"{prefix}{each.upper()}") for each in SECRETS}
    return _settings(
        group,
        texts,
        {each: file for each, file in files.items() if file is not None},
        lambda field: f"{prefix}{field.upper()}",
    )


def oauth_entry(
    entry: OAuthEntry, read: Callable[[Path, str], str], name: Callable[[str], str]
) -> OAuthSettings:
    """Return an entry's OAuth settings for the adapter, with its files read.

    Raises:
        SettingError: a file can't be read, or the service account's key is invalid.
    """
    paths = {each: getattr(entry, f"{each}_file") for each in SECRETS}
    files = {each: path for each, path in paths.items() if path is not None}
    texts = {each: read(path, name(f"{each}_file")) for each, path in files.items()}
    return _settings(entry, texts, files, lambda field: name(_in_entry(field)))


def _settings(
    fields: OAuthFields,
    texts: Mapping[str, str | None],
    files: Mapping[str, Path],
    name: Callable[[str], str],
) -> OAuthSettings:
    key = texts.get("service_account")
    if key is not None:
        _check_key(key, fields.token_url, name)
    return OAuthSettings(
        token_url=fields.token_url or "",
        client_id=fields.client_id or "",
        client_secret=texts.get("client_secret"),
        refresh_token=texts.get("refresh_token"),
        service_account=key,
        token_file=fields.token_file,
        scope=fields.scope or "",
        ca_file=fields.ca_file,
        ca_setting=name("ca_file"),
        files=files,
    )


def _check_key(key: str, token_url: str | None, name: Callable[[str], str]) -> None:
    try:
        account = parse_service_account(key)
        if token_url is None and account.token_url:
            check_token_url(account.token_url)
    except ValueError as error:
        raise SettingError(name("service_account"), str(error)) from None
    if token_url is None and not account.token_url:
        raise SettingError(name("token_url"), "is required: the service account's key names none")


def _in_entry(field: str) -> str:
    return f"{field}_file" if field in SECRETS else field


def _text(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
