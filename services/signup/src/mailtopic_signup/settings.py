"""The signup service's settings."""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr, field_validator

from mailtopic_client import KafkaSettings
from mailtopic_contract import ContractError, SealVersion, TopicNames
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

    head_timeout_s: float = Field(default=10.0, gt=0, le=300)
    """Seconds in which a request's head must arrive; else its connection is closed."""

    body_timeout_s: float = Field(default=10.0, gt=0, le=300)
    """Seconds in which a request's body must arrive; else it gets 408. Also how long a client may
    take to read its answer before its connection is closed."""

    max_head_bytes: int = Field(default=16_384, ge=4096, le=262_144)
    """Bytes that a request's line and header fields may have; a longer head gets 431."""

    max_connections: int = Field(default=1024, ge=16, le=100_000)
    """Open connections; fewer if the process's limit of descriptors is too low. One more closes the
    connection that has waited longest for its client."""

    max_connections_per_client: int = Field(default=512, ge=0, le=100_000)
    """Open connections of one client; 0: no limit. Not counted behind trusted proxies, which are
    the other end of every connection."""

    logged_requests_per_s: int = Field(default=100, ge=0, le=100_000)
    """Lines about requests in a second; further ones are counted in a line of their own. Accepted
    mails are always logged. 0: no limit."""


class DatabaseSettings(SettingsGroup):
    """Where users, challenges and the outbox are; below MAILTOPIC_DATABASE__."""

    url: SecretStr | None = None
    """sqlite:////path/to/file or postgresql://user:password@host/name. Unset: signup.db in
    $XDG_STATE_HOME/mailtopic (~/.local/state/mailtopic)."""

    migrate: bool = True
    """Whether the service brings the tables up to date when it starts."""

    synchronous: Literal["FULL", "NORMAL"] = "FULL"
    """SQLite only. With FULL a 202 survives a power failure; with NORMAL it survives a killed
    process, and a commit costs no fsync."""

    busy_timeout_s: float = Field(default=10.0, gt=0, le=120)
    """SQLite only: seconds to wait for another process that writes."""

    pool_size: int = Field(default=5, ge=1, le=100)
    """Open connections."""


class CodesSettings(SettingsGroup):
    """The form of codes and how often they may be tried; below MAILTOPIC_CODES__."""

    length: int = Field(default=6, ge=6, le=10)
    """Decimal digits of a day's first code to an address (ASVS 6.5.4: at least 20 bits); further
    codes have 16."""

    ttl_s: int = Field(default=600, ge=60, le=86_400)
    """Seconds that a code is valid. A long one is valid until the address may get its next mail,
    plus this time."""

    max_tries: int = Field(default=5, ge=1, le=10)
    """Tries that a challenge allows; a resend does not give new ones."""

    max_failures_per_day: int = Field(default=10, ge=1, le=100)
    """Tries in 24 hours that strangers get at codes of an address, however many signups they begin.
    It locks no address: challenges with their own code keep their tries, and long codes always
    work."""

    resend_cooldown_s: int = Field(default=60, ge=0, le=3600)
    """Seconds between two mails to the same address."""

    max_mails_per_hour: int = Field(default=5, ge=1, le=1000)
    """Mails in an hour to the same address; further requests get the same answer and no mail."""

    max_mails_per_day: int = Field(default=10, ge=1, le=1000)
    """Mails in 24 hours to the same address."""


class ClientsSettings(SettingsGroup):
    """The limits of one client; below MAILTOPIC_CLIENTS__. Each process counts separately.

    A client is an IPv4 address or the /64 of an IPv6 address; its /56 counts as four clients, its
    /48 as sixteen.
    """

    trusted_proxies: int = Field(default=0, ge=0, le=10)
    """Proxies in front, each of which appends its peer's address to X-Forwarded-For. 0: the header
    is ignored. If too high, clients can forge their address."""

    signups_per_minute: int = Field(default=20, ge=0, le=10_000)
    """Signups and resends of a client in a minute; more get 429. 0: no limit."""

    verifies_per_five_minutes: int = Field(default=30, ge=0, le=10_000)
    """Codes that a client may try in five minutes; more get 429. 0: no limit."""


class RetentionSettings(SettingsGroup):
    """How long old rows are kept; below MAILTOPIC_RETENTION__."""

    challenges_s: int = Field(default=604_800, ge=172_800, le=31_536_000)
    """Seconds that a challenge is kept after its beginning, with the counts of its address and a
    user that never confirmed. At least two days, so that no count of a day is lost."""


class PepperSettings(SettingsGroup):
    """The key under which codes are stored; below MAILTOPIC_PEPPER__."""

    keys_file: Path
    """JSON file: {"active": "p1", "keys": {"p1": "<base64, at least 16 bytes>"}}."""


def _number(value: object) -> object:
    # A Literal of numbers doesn't take the text of an environment variable.
    return int(value) if isinstance(value, str) and value in {"1", "2"} else value


class SealingSettings(SettingsGroup):
    """Whether codes travel encrypted; below MAILTOPIC_SEALING__."""

    enabled: bool = True
    """Whether a mail's variables are sealed. If off, codes are readable in Kafka."""

    keys_file: Path | None = None
    """JSON file: {"active": "k1", "keys": {"k1": "<base64 of 32 bytes>"}}; needed for sealing."""

    version: Annotated[SealVersion, BeforeValidator(_number)] = 2
    """The version in which mails are sealed. In 1, which is for senders of earlier releases only,
    a code can be sent elsewhere by anyone with Read and Write on the topic."""


class OutboxSettings(SettingsGroup):
    """How mails are published from the outbox; below MAILTOPIC_OUTBOX__."""

    batch_size: int = Field(default=500, ge=1, le=5000)
    """Mails that are leased and published together."""

    lease_s: float = Field(default=15.0, ge=3, le=600)
    """Seconds after which another process may take over a dead one's mails; leases of mails in
    flight are renewed."""

    poll_s: float = Field(default=1.0, gt=0, le=60)
    """Seconds between two polls of the outbox when nothing wakes the publisher."""

    retention_s: int = Field(default=3600, ge=0, le=2_592_000)
    """Seconds that a published mail is kept in the outbox."""


class MailsSettings(SettingsGroup):
    """Mails that other services send through POST /v1/mails; below MAILTOPIC_MAILS__."""

    tokens_file: Path | None = None
    """JSON file with the services' tokens, hashed; `mailtopic-signup token` makes one. Unset: the
    API is off."""

    retention_s: int = Field(default=604_800, ge=0, le=31_536_000)
    """Seconds after a mail expired during which GET /v1/mails/{id} still returns it."""


class RecipientsSettings(SettingsGroup):
    """Which domains are refused; below MAILTOPIC_RECIPIENTS__."""

    blocked_domains_file: Path | None = None
    """Text file of domains, one a line, whose addresses are refused, with all domains below them:
    such as those of disposable addresses. Unset: none."""

    mx_lookup: bool = False
    """Whether to look up in the DNS if a domain takes mail. Without an answer in time it is
    accepted."""

    dns_timeout_s: float = Field(default=2.0, gt=0, le=30)
    """Timeout in seconds of a request's DNS lookup."""

    dns_server: str | None = Field(default=None, pattern=r"^[0-9a-fA-F.:]+$")
    """IP address of the resolver to ask; unset: the machine's."""

    dns_port: int = Field(default=53, ge=1, le=65535)
    """Port of that resolver."""


class PagesSettings(SettingsGroup):
    """The signup page; below MAILTOPIC_PAGES__."""

    enabled: bool = True
    """Whether the signup page is served at /."""

    inbox_url: str | None = Field(default=None, pattern=r"^https?://[^\s\"'<>]+$")
    """Where the page's link to a demo inbox leads; unset: no link."""


class RequestTracingSettings(TracingSettings):
    """Where spans go, and whether they continue callers' traces; below MAILTOPIC_TRACING__."""

    follow_callers: bool = True
    """Whether a request's traceparent is continued, its sampling decision included. Switch it off
    if the API is open to the Internet, or strangers decide how much is recorded."""


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
    clients: ClientsSettings = ClientsSettings()
    retention: RetentionSettings = RetentionSettings()
    outbox: OutboxSettings = OutboxSettings()
    mails: MailsSettings = MailsSettings()
    recipients: RecipientsSettings = RecipientsSettings()
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
        SettingError: the folder can't be created.
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
