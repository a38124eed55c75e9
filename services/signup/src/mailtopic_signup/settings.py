"""The signup service's settings."""

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator

from mailtopic_client import KafkaSettings
from mailtopic_contract import ContractError, TopicNames
from mailtopic_runtime import (
    LogSettings,
    MailTopicSettings,
    SettingError,
    SettingsGroup,
    TracingSettings,
)


class HttpSettings(SettingsGroup):
    """Where and how the API is served; below MAILTOPIC_HTTP__."""

    host: str = "127.0.0.1"
    """The address to listen on; a container needs 0.0.0.0. Loopback, so nothing opens unasked."""

    port: int = Field(default=8080, ge=0, le=65535)
    """The port of the API; 0 takes a free one, which the log names."""

    max_body_bytes: int = Field(default=16_384, ge=256, le=1_048_576)
    """Bytes that a request's body may have; a longer one gets 413."""

    shutdown_grace_s: int = Field(default=10, ge=0, le=300)
    """Seconds that running requests get to end after SIGTERM."""


class DatabaseSettings(SettingsGroup):
    """Where users, challenges and the outbox are; below MAILTOPIC_DATABASE__."""

    url: SecretStr | None = None
    """sqlite:////path/to/file or postgresql://user:password@host/name. Unset: signup.db in
    $XDG_STATE_HOME/mailtopic (~/.local/state/mailtopic)."""

    migrate: bool = True
    """Whether the service brings the tables up to date when it starts."""

    synchronous: Literal["FULL", "NORMAL"] = "FULL"
    """SQLite only. With FULL a 202 outlives a power failure; with NORMAL it outlives a killed
    process, and a commit costs no fsync."""

    busy_timeout_s: float = Field(default=10.0, gt=0, le=120)
    """SQLite only: seconds to wait for another process that writes."""

    pool_size: int = Field(default=5, ge=1, le=100)
    """Open connections."""


class CodesSettings(SettingsGroup):
    """How codes look and how often they may be tried; below MAILTOPIC_CODES__."""

    length: int = Field(default=6, ge=6, le=10)
    """Decimal digits of a code (ASVS 6.5.4: at least 20 bits)."""

    ttl_s: int = Field(default=600, ge=60, le=86_400)
    """Seconds that a code is valid."""

    max_tries: int = Field(default=5, ge=1, le=10)
    """Tries that a challenge allows; a resend does not give new ones."""

    max_failures_per_day: int = Field(default=10, ge=1, le=100)
    """Wrong codes in 24 hours after which an address is locked; a resend does not reset them."""

    resend_cooldown_s: int = Field(default=60, ge=0, le=3600)
    """Seconds between two mails to the same address."""


class PepperSettings(SettingsGroup):
    """The key under which codes are stored; below MAILTOPIC_PEPPER__."""

    keys_file: Path
    """JSON file: {"active": "p1", "keys": {"p1": "<base64, at least 16 bytes>"}}."""


class SealingSettings(SettingsGroup):
    """Whether codes travel encrypted; below MAILTOPIC_SEALING__."""

    enabled: bool = True
    """Whether a mail's variables are sealed. Switched off, codes are readable in Kafka."""

    keys_file: Path | None = None
    """JSON file: {"active": "k1", "keys": {"k1": "<base64 of 32 bytes>"}}; needed for sealing."""


class OutboxSettings(SettingsGroup):
    """How mails leave the outbox; below MAILTOPIC_OUTBOX__."""

    batch_size: int = Field(default=500, ge=1, le=5000)
    """Mails that are leased and published together."""

    lease_s: float = Field(default=15.0, ge=3, le=600)
    """Seconds after which another process may take over what a dead one held; leases of mails on
    their way are renewed."""

    poll_s: float = Field(default=1.0, gt=0, le=60)
    """Seconds between two looks into the outbox when nothing wakes the publisher."""

    retention_s: int = Field(default=3600, ge=0, le=2_592_000)
    """Seconds that a published mail stays in the outbox."""


class PagesSettings(SettingsGroup):
    """The signup page; below MAILTOPIC_PAGES__."""

    enabled: bool = True
    """Whether the signup page is served at /."""

    inbox_url: str | None = Field(default=None, pattern=r"^https?://[^\s\"'<>]+$")
    """Where the page's link to a demo inbox leads; unset: no link."""


class RequestTracingSettings(TracingSettings):
    """Where spans go, and whose traces they may belong to; below MAILTOPIC_TRACING__."""

    follow_callers: bool = True
    """Whether a request's traceparent is continued, its sampling decision included. Switch it off
    where anybody on the Internet may call, or strangers decide how much is recorded."""


class SignupSettings(MailTopicSettings):
    """All settings of mailtopic-signup."""

    kafka: KafkaSettings
    topic: str = Field(min_length=1)
    """The MailTopic's topic; outcomes are read from <topic>.status."""

    default_locale: Literal["ru", "en"] = "ru"
    """The language of a mail when the request names none."""

    pepper: PepperSettings
    sealing: SealingSettings = SealingSettings()
    http: HttpSettings = HttpSettings()
    database: DatabaseSettings = DatabaseSettings()
    codes: CodesSettings = CodesSettings()
    outbox: OutboxSettings = OutboxSettings()
    pages: PagesSettings = PagesSettings()
    log: LogSettings = LogSettings()
    tracing: RequestTracingSettings = RequestTracingSettings()

    @field_validator("topic")
    @classmethod
    def _is_topic_name(cls, topic: str) -> str:
        try:
            TopicNames(topic)
        except ContractError as error:
            raise ValueError(str(error)) from None
        return topic


class MigrateSettings(MailTopicSettings):
    """All settings of mailtopic-signup migrate."""

    database: DatabaseSettings = DatabaseSettings()
    log: LogSettings = LogSettings()


def default_database_file() -> Path:
    """Return the SQLite file that is used when no database is named; makes its folder.

    Raises:
        SettingError: the folder can't be made.
    """
    state_home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    folder = Path(state_home) / "mailtopic"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise SettingError(
            "MAILTOPIC_DATABASE__URL", f"is unset, and {folder} can't be made: {error.strerror}"
        ) from None
    return folder / "signup.db"
