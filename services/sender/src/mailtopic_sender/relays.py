"""The relays as a user writes them: MAILTOPIC_SMTP__ for one, MAILTOPIC_RELAYS for several."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, model_validator

from mailtopic_runtime import SettingError, SettingsGroup
from mailtopic_sender.adapters.smtp_settings import RelaySettings, Security

RELAYS = "MAILTOPIC_RELAYS"

_TLS_PORT = 465
_SECURITIES = {security.value.lower(): security for security in Security}


def _security(value: Any) -> Any:
    known = _SECURITIES.get(value.lower()) if isinstance(value, str) else value
    if value is not None and known is None:
        raise ValueError("must be StartTLS, TLS or None")
    return known


class _Relay(SettingsGroup):
    """What there is to say of a relay, one or several."""

    host: str = Field(min_length=1)
    """The relay's name or address; its certificate must be for it."""

    port: int = Field(default=587, ge=1, le=65535)
    """The relay's port: 587 for submission, 465 for TLS from the start (RFC 8314)."""

    security: Annotated[Security | None, BeforeValidator(_security)] = None
    """StartTLS, TLS or None (readable on the way); unset: TLS on port 465, StartTLS elsewhere."""

    username: str | None = None
    """Who logs in; unset: nobody does."""

    ca_file: Path | None = None
    """PEM file of the authorities that sign the relay's certificate; unset: the system's."""

    max_connections: int = Field(default=10, ge=1, le=1000)
    """Connections that one process opens to the relay; providers limit them."""

    mails_per_connection: int = Field(default=100, ge=1, le=1_000_000)
    """Mails after which a connection is closed and another opened; providers limit that, too. A
    relay of your own may take more: opening one costs as much as dozens of mails.
    """

    rate_per_s: float | None = Field(default=None, ge=0.001, le=100_000, allow_inf_nan=False)
    """Mails a second that all senders together hand to the relay; unset: as many as it takes."""

    def relay(
        self, *, name: str, username: str | None, password: str | None, ca_setting: str
    ) -> RelaySettings:
        """Return the relay as the adapter takes it."""
        default = Security.TLS if self.port == _TLS_PORT else Security.STARTTLS
        return RelaySettings(
            host=self.host,
            port=self.port,
            name=name,
            security=self.security or default,
            username=username,
            password=password,
            ca_file=self.ca_file,
            ca_setting=ca_setting,
            max_connections=self.max_connections,
            mails_per_connection=self.mails_per_connection,
            rate_per_s=self.rate_per_s,
        )


class SmtpSettings(_Relay):
    """The only relay; below MAILTOPIC_SMTP__."""

    password: SecretStr | None = None
    """The password of the user who logs in."""

    @model_validator(mode="after")
    def _login_is_complete(self) -> Self:
        if self.username and self.password is None:
            raise ValueError("a username needs a password: set MAILTOPIC_SMTP__PASSWORD")
        return self

    def only_relay(self) -> RelaySettings:
        """Return the relay as the adapter takes it; its name is the host's."""
        password = self.password.get_secret_value() if self.password else None
        return self.relay(
            name=self.host,
            username=self.username,
            password=password,
            ca_setting="MAILTOPIC_SMTP__CA_FILE",
        )


class RelayEntry(_Relay):
    """One of several relays; an entry of MAILTOPIC_RELAYS."""

    name: str = Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$")
    """What logs, metrics and status events call the relay."""

    username_file: Path | None = None
    """File with the name of the user who logs in, instead of username."""

    password_file: Path | None = None
    """File with the password of the user who logs in."""

    @model_validator(mode="after")
    def _login_is_complete(self) -> Self:
        if self.username is not None and self.username_file is not None:
            raise ValueError("username and username_file can't stand beside each other")
        has_user = self.username is not None or self.username_file is not None
        if has_user != (self.password_file is not None):
            raise ValueError("username and password_file need each other")
        return self


def parse_relays(text: str) -> tuple[RelayEntry, ...]:
    """Return the entries of MAILTOPIC_RELAYS, in order of preference, with different names.

    Raises:
        SettingError: it is no such list; names the entry that is wrong.
    """
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise SettingError(RELAYS, f"is not valid JSON ({where})") from None
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
    """Return the relays as the adapter takes them, their passwords read.

    Raises:
        SettingError: a password file can't be read, or is empty.
    """
    relays = []
    for number, entry in enumerate(entries, 1):
        setting = f"{RELAYS} {_which(number, entry.name)}"
        password = None
        if entry.password_file is not None:
            password = _line(entry.password_file, f"{setting}, password_file")
        relays.append(
            entry.relay(
                name=entry.name,
                username=login_name(number, entry),
                password=password,
                ca_setting=f"{setting}, ca_file",
            )
        )
    return tuple(relays)


def login_name(number: int, entry: RelayEntry) -> str | None:
    """Return the user who logs in at an entry's relay.

    Raises:
        SettingError: a file with it can't be read, or is empty.
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
    if first["type"] == "missing":
        problem = f"{key} is required"
    elif first["type"] == "extra_forbidden":
        problem = f"{key} is not known; known are {', '.join(sorted(RelayEntry.model_fields))}"
    else:
        said = first["msg"].removeprefix("Value error, ")
        problem = f"{key}: {said}" if key else said
    raise SettingError(RELAYS, f"{_which(number, item.get('name'))}: {problem}")


def _which(number: int, name: object) -> str:
    is_name = isinstance(name, str) and name.isprintable() and 0 < len(name) < 64  # noqa: PLR2004
    return f"entry {number} ({name})" if is_name else f"entry {number}"


def _line(path: Path, name: str) -> str:
    try:
        line = path.read_text(encoding="utf-8-sig").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SettingError(name, f"the file {path} can't be read: {reason}") from None
    if not line:
        raise SettingError(name, f"the file {path} is empty")
    return line
