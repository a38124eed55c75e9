"""The settings of relays: MAILTOPIC_SMTP__ for one, MAILTOPIC_RELAYS for several."""

import ipaddress
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)

from mailtopic_runtime import SettingError, SettingsGroup, secret_file
from mailtopic_sender.adapters.smtp_settings import (
    OAuthSettings,
    RelaySettings,
    Security,
    SmtpTimeouts,
)
from mailtopic_sender.relay_logins import (
    Mechanisms,
    OAuthEntry,
    OAuthGroup,
    check_mechanisms,
    check_oauth,
    oauth_entry,
    oauth_group,
)

RELAYS = "MAILTOPIC_RELAYS"
SMTP = "MAILTOPIC_SMTP__"

_TLS_PORT = 465
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_LITERAL = re.compile(r"\[(IPv6:)?([0-9A-Fa-f:.]+)\]")
_HOST = re.compile(r"\w(?:[\w.-]{0,251}[\w.])?")
"""Allows underscores and other scripts: hosts have such names, mostly in compose files."""
_SECURITIES = {security.value.lower(): security for security in Security}


def _security(value: Any) -> Any:
    known = _SECURITIES.get(value.lower()) if isinstance(value, str) else value
    if value is not None and known is None:
        raise ValueError("must be StartTLS, TLS or None")
    return known


def _host(host: str) -> str:
    if not _HOST.fullmatch(host) and not _is_ipv6(host):
        raise ValueError(
            "must be a host name or IP address alone, such as smtp.example.com, without a scheme,"
            " port, path or brackets; the port has a setting of its own"
        )
    return host


def _ehlo_name(name: str) -> str:
    literal = _LITERAL.fullmatch(name)
    is_domain = _DOMAIN.fullmatch(name) is not None and not name.rpartition(".")[2].isdigit()
    if not is_domain and (literal is None or not _is_address(literal[2], v6=bool(literal[1]))):
        raise ValueError(
            "must be this host's full name, such as mail.example.com, or an address literal, such"
            " as [192.0.2.1] or [IPv6:2001:db8::1]"
        )
    return name


def _is_address(text: str, *, v6: bool) -> bool:
    try:
        return ipaddress.ip_address(text).version == (6 if v6 else 4)
    except ValueError:
        return False


def _is_ipv6(text: str) -> bool:
    return _is_address(text, v6=True)


_TIMEOUTS = SmtpTimeouts()
_Seconds = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]


class TimeoutFields(SettingsGroup):
    """How long a relay may take (RFC 5321 §4.5.3.2); below MAILTOPIC_SMTP__TIMEOUTS__."""

    connect_s: _Seconds = _TIMEOUTS.connect_s
    """Seconds for resolving the relay's name, and for connecting to each of its addresses."""

    greeting_s: _Seconds = _TIMEOUTS.greeting_s
    """Seconds until the relay's greeting; with TLS from the start, including the handshake."""

    command_s: _Seconds = _TIMEOUTS.command_s
    """Seconds for EHLO, STARTTLS and AUTH, each."""

    envelope_s: _Seconds = _TIMEOUTS.envelope_s
    """Seconds for MAIL, RCPT and DATA, each."""

    block_s: _Seconds = _TIMEOUTS.block_s
    """Seconds for sending the message, while the relay is slow to read it."""

    dot_s: _Seconds = _TIMEOUTS.dot_s
    """Seconds for the reply to the final dot; after that, the mail's fate is unknown."""


class _Relay(SettingsGroup):
    """The settings of a relay, whether one or several."""

    host: Annotated[str, AfterValidator(_host)]
    """The relay's name or address; its certificate must match it."""

    port: int = Field(default=587, ge=1, le=65535)
    """The relay's port: 587 for submission, 465 for TLS from the start (RFC 8314)."""

    security: Annotated[Security | None, BeforeValidator(_security)] = None
    """StartTLS, TLS or None (unencrypted); unset: TLS on port 465, StartTLS elsewhere."""

    username: str | None = None
    """The username to log in with; unset: no login. With OAuth, the mailbox of the tokens."""

    mechanisms: Mechanisms = ()
    """Permitted login mechanisms, in order, of PLAIN, LOGIN, CRAM-MD5, XOAUTH2, OAUTHBEARER; unset:
    those that fit the login and the relay offers. One that doesn't work is skipped.
    """

    ca_file: Path | None = None
    """PEM file of the authorities that sign the relay's certificate; unset: the system's."""

    ehlo_name: Annotated[str, AfterValidator(_ehlo_name)] | None = None
    """The sender's name in EHLO; unset: this host's full name if it has one, else the address of
    the connection, such as [192.0.2.1].
    """

    pipelining: bool = True
    """Whether commands are sent without waiting for each reply if the relay offers it."""

    max_connections: int = Field(default=10, ge=1, le=1000)
    """Connections that one process opens to the relay; providers limit them."""

    mails_per_connection: int = Field(default=100, ge=1, le=1_000_000)
    """Mails after which a connection is closed and another opened; providers limit that, too. A
    relay of your own may accept more: opening one costs as much as dozens of mails.
    """

    rate_per_s: float | None = Field(default=None, ge=0.001, le=100_000, allow_inf_nan=False)
    """Mails a second that all senders together send to the relay; unset: as many as it accepts."""

    timeouts: TimeoutFields = Field(default_factory=TimeoutFields)

    def relay(
        self,
        *,
        name: str,
        username: str | None,
        password: str | None,
        password_file: Path | None,
        oauth: OAuthSettings | None,
        ca_setting: str,
        username_file: Path | None = None,
    ) -> RelaySettings:
        """Return the relay's settings for the adapter."""
        default = Security.TLS if self.port == _TLS_PORT else Security.STARTTLS
        return RelaySettings(
            host=self.host,
            port=self.port,
            name=name,
            security=self.security or default,
            username=username,
            password=password,
            username_file=username_file,
            password_file=password_file,
            oauth=oauth,
            mechanisms=self.mechanisms,
            pipelining=self.pipelining,
            ca_file=self.ca_file,
            ca_setting=ca_setting,
            max_connections=self.max_connections,
            mails_per_connection=self.mails_per_connection,
            rate_per_s=self.rate_per_s,
            ehlo_name=self.ehlo_name,
            timeouts=SmtpTimeouts(**self.timeouts.model_dump()),
        )


class SmtpSettings(_Relay):
    """The only relay; below MAILTOPIC_SMTP__."""

    password: SecretStr | None = None
    """The password for the username."""

    oauth: OAuthGroup | None = None

    @model_validator(mode="after")
    def _login_is_complete(self) -> Self:
        def name(field: str) -> str:
            return f"{SMTP}{field.upper()}"

        oauth = self.oauth
        check_mechanisms(self.mechanisms, oauth=oauth is not None, name=name)
        if self.password is not None and not self.username:
            raise ValueError(f"a password needs a username: set {name('username')}")
        if oauth is not None and self.password is not None:
            raise ValueError(
                f"{name('password')} can't stand beside {name('oauth__')}…: keep the password or"
                " the tokens"
            )
        if oauth is not None:
            check_oauth(oauth, name=lambda field: name(f"oauth__{field}"))
        if oauth is not None and not self.username:
            raise ValueError(f"{name('username')} is required: the mailbox that tokens are for")
        if oauth is None and self.username and self.password is None:
            raise ValueError(
                f"{name('password')} is required: a username needs a password, or"
                f" {name('oauth__')}… for tokens"
            )
        return self

    def only_relay(self) -> RelaySettings:
        """Return the relay's settings for the adapter; its name is the host's.

        Raises:
            SettingError: the key of a service account is invalid.
        """
        password = self.password.get_secret_value() if self.password else None
        return self.relay(
            name=self.host,
            username=self.username,
            password=password,
            password_file=secret_file(f"{SMTP}PASSWORD"),
            oauth=None if self.oauth is None else oauth_group(self.oauth, f"{SMTP}OAUTH__"),
            ca_setting=f"{SMTP}CA_FILE",
        )


class RelayEntry(_Relay):
    """One of several relays; an entry of MAILTOPIC_RELAYS."""

    name: str = Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$")
    """The relay's name in logs, metrics and status events."""

    username_file: Path | None = None
    """File with the username, instead of username."""

    password_file: Path | None = None
    """File with the password for the username."""

    oauth: OAuthEntry | None = None

    @model_validator(mode="after")
    def _login_is_complete(self) -> Self:
        if self.username is not None and self.username_file is not None:
            raise ValueError("username and username_file can't stand beside each other")
        has_user = self.username is not None or self.username_file is not None
        oauth = self.oauth
        check_mechanisms(self.mechanisms, oauth=oauth is not None, name=str)
        if oauth is None and has_user != (self.password_file is not None):
            raise ValueError("username and password_file need each other")
        if oauth is None:
            return self
        if self.password_file is not None:
            raise ValueError("password_file can't stand beside oauth: keep one of them")
        check_oauth(oauth, name=lambda field: f"oauth.{field}")
        if not has_user:
            raise ValueError("username is required: the mailbox that tokens are for")
        return self


def parse_relays(text: str) -> tuple[RelayEntry, ...]:
    """Return the entries of MAILTOPIC_RELAYS, in order of preference, with different names.

    Raises:
        SettingError: it isn't such a list; names the wrong entry.
    """
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise SettingError(RELAYS, f"is not valid JSON ({where})") from None
    except (ValueError, RecursionError):
        raise SettingError(RELAYS, "is JSON with numbers too long or lists too deep") from None
    if not isinstance(found, list) or not found:
        raise SettingError(RELAYS, "must be a JSON list of relays, at least one")
    entries = tuple(_entry(number, item) for number, item in enumerate(found, 1))
    names = [entry.name for entry in entries]
    for number, name in enumerate(names, 1):
        if names.index(name) < number - 1:
            first = names.index(name) + 1
            raise SettingError(RELAYS, f"{_which(number, name)}: entry {first} has that name, too")
    return entries


def open_relays(entries: Sequence[RelayEntry]) -> tuple[RelaySettings, ...]:
    """Return the relays' settings for the adapter, with their secrets read.

    Raises:
        SettingError: a file with a secret can't be read, or is empty.
    """
    return tuple(_open(number, entry) for number, entry in enumerate(entries, 1))


def _open(number: int, entry: RelayEntry) -> RelaySettings:
    setting = f"{RELAYS} {_which(number, entry.name)}"
    password = None
    if entry.password_file is not None:
        password = _line(entry.password_file, f"{setting}, password_file")
    oauth = None
    if entry.oauth is not None:
        oauth = oauth_entry(entry.oauth, _line, lambda field: f"{setting}, oauth.{field}")
    return entry.relay(
        name=entry.name,
        username=login_name(number, entry),
        username_file=entry.username_file,
        password=password,
        password_file=entry.password_file,
        oauth=oauth,
        ca_setting=f"{setting}, ca_file",
    )


def login_name(number: int, entry: RelayEntry) -> str | None:
    """Return the username for an entry's relay.

    Raises:
        SettingError: its file can't be read, or is empty.
    """
    if entry.username_file is None:
        return entry.username
    setting = f"{RELAYS} {_which(number, entry.name)}, username_file"
    return _line(entry.username_file, setting)


def _entry(number: int, item: object) -> RelayEntry:
    if not isinstance(item, dict):
        raise SettingError(RELAYS, f"entry {number} must be an object with name, host and more")
    try:
        return RelayEntry.model_validate(item)
    except ValidationError as error:
        first = error.errors(include_input=False, include_context=False, include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    if not _is_shown(key):
        key = "a field"
    if first["type"] == "missing":
        problem = f"{key} is required"
    elif first["type"] == "extra_forbidden":
        problem = f"{key} is not known; known are {', '.join(_known(first['loc']))}"
    else:
        said = first["msg"].removeprefix("Value error, ")
        problem = f"{key}: {said}" if key else said
    raise SettingError(RELAYS, f"{_which(number, item.get('name'))}: {problem}")


def _known(place: tuple[int | str, ...]) -> list[str]:
    """Return the valid fields at the place of an unknown one."""
    groups: dict[str, type[BaseModel]] = {"oauth": OAuthEntry, "timeouts": TimeoutFields}
    return sorted(groups.get(str(place[0]) if place[1:] else "", RelayEntry).model_fields)


def _which(number: int, name: object) -> str:
    return f"entry {number} ({name})" if name and _is_shown(name) else f"entry {number}"


def _is_shown(name: object) -> bool:
    """Whether a name from a file may be shown in a line: it may be any text."""
    return isinstance(name, str) and name.isprintable() and len(name) < 64  # noqa: PLR2004


def _line(path: Path, name: str) -> str:
    try:
        line = path.read_text(encoding="utf-8-sig").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SettingError(name, f"the file {path} can't be read: {reason}") from None
    if not line:
        raise SettingError(name, f"the file {path} is empty")
    return line
