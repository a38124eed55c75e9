"""The sender's settings; the original consumer's variables work as well."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from pydantic import (
    Field,
    SecretStr,
    create_model,
    field_validator,
    model_validator,
)

from mailtopic_client import KafkaSettings
from mailtopic_contract import (
    DEFAULT_TIERS,
    Address,
    ContractError,
    RetryTier,
    TopicNames,
    parse_address,
    parse_tier,
)
from mailtopic_runtime import (
    LogSettings,
    MailTopicSettings,
    MetricsSettings,
    SettingError,
    SettingsGroup,
    TracingSettings,
)
from mailtopic_sender.adapters.smtp_settings import RelaySettings
from mailtopic_sender.domain.flood import FloodLimits
from mailtopic_sender.domain.replies import ReplyRule, RuleError, parse_rules
from mailtopic_sender.relays import RELAYS, SmtpSettings, login_name, open_relays, parse_relays

_SELECTOR = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9-]{1,63})*")
"""RFC 6376 §3.1: names below _domainkey; also file names, so they can't leave the directory."""


class FromSettings(SettingsGroup):
    """The sender of mails; below MAILTOPIC_FROM__."""

    name: str = ""
    """The name that readers see; unset: only the address."""

    address: str | None = None
    """The address that mails come from; unset: the relay's username."""


class DkimSettings(SettingsGroup):
    """How mails are signed (DKIM, RFC 6376); below MAILTOPIC_DKIM__."""

    domain: str | None = None
    """The signing domain; unset: that of the from address."""

    selectors: tuple[str, ...] = ()
    """Names of the keys, such as 2026a, each with its public key in the DNS at
    <selector>._domainkey.<domain>; a mail is signed with each. Unset: mails are not signed.
    """

    keys_directory: Path | None = None
    """A directory with a private key in PEM for each selector, named <selector>.pem: RSA or
    Ed25519.
    """

    @field_validator("domain")
    @classmethod
    def _is_domain(cls, domain: str | None) -> str | None:
        try:
            parsed = parse_address(f"x@{domain}").domain if domain is not None else None
        except ContractError:
            raise ValueError("is not a domain") from None
        if parsed is not None and parsed.startswith("["):
            raise ValueError("is an IP address; signatures need a domain")
        return parsed

    @field_validator("selectors")
    @classmethod
    def _are_selectors(cls, selectors: tuple[str, ...]) -> tuple[str, ...]:
        if not all(map(_SELECTOR.fullmatch, selectors)):
            raise ValueError("must be letters, digits, hyphens and dots, such as 2026a")
        if len(set(selectors)) != len(selectors):
            raise ValueError("must differ from each other")
        return selectors


class SealingSettings(SettingsGroup):
    """How sealed codes are unsealed; below MAILTOPIC_SEALING__."""

    keys_file: Path | None = None
    """Key file that the publishers seal with; unset: sealed mails go to the DLQ."""

    accept_version1: bool = True
    """Whether mails sealed in version 1 are sent; else they go to the DLQ. Switch it off when all
    publishers seal in version 2 and the topic's retention has passed: in version 1 a changed
    recipient or expiry isn't noticed."""

    former_topics: tuple[str, ...] = ()
    """Main topics whose mails were moved to this one: mails sealed for them are sent as well."""


class DeliverySettings(SettingsGroup):
    """What happens to mails; below MAILTOPIC_DELIVERY__."""

    max_age_s: float = Field(default=3600, gt=0, le=86_400)
    """Seconds after which a mail of the original payload, which has no expiry, is not sent."""

    retry_tiers: tuple[str, ...] = Field(
        default=tuple(tier.name for tier in DEFAULT_TIERS), min_length=1
    )
    """Delays of the retry topics, increasing, such as 10s,1m,5m."""

    on_unknown: str = Field(default="Resend", pattern="^(Resend|Hold)$")
    """Resend or Hold a mail whose final reply was lost: risk a second copy, or let a person
    decide."""

    superseding_purposes: tuple[str, ...] = ("signup",)
    """Purposes for which a newer mail to the same address makes the older ones pointless."""

    max_in_flight: int = Field(default=400, ge=1, le=10_000)
    """Mails that are delivered at once; it bounds what a restart repeats. A connection has up to
    two, and those that were just accepted wait to be recorded: three for each connection.
    """

    drain_timeout_s: float = Field(default=25.0, gt=0, le=600)
    """Seconds that mails under way may take when partitions are revoked or the process stops."""

    @field_validator("retry_tiers")
    @classmethod
    def _are_tiers(cls, tiers: tuple[str, ...]) -> tuple[str, ...]:
        delays = [parse_tier(tier).delay_ms for tier in tiers]
        if delays != sorted(set(delays)):
            raise ValueError("must grow from one to the next")
        return tiers

    @property
    def tiers(self) -> tuple[RetryTier, ...]:
        """The retry tiers, the shortest first."""
        return tuple(parse_tier(tier) for tier in self.retry_tiers)


RULES_FILE = "MAILTOPIC_REPLIES__RULES_FILE"
_MAX_RULES_OCTETS = 262_144


class RepliesSettings(SettingsGroup):
    """The meaning of relays' replies; below MAILTOPIC_REPLIES__."""

    rules_file: Path | None = None
    """JSON list of your own rules, the first match wins: objects with match (a regular expression),
    class and, optionally, code and phase.
    """

    def rules(self) -> tuple[ReplyRule, ...]:
        """Return the rules.

        Raises:
            SettingError: the file can't be read, or an entry can't be used.
        """
        if self.rules_file is None:
            return ()
        where = f"the file {self.rules_file}"
        try:
            with self.rules_file.open("rb") as file:
                content = file.read(_MAX_RULES_OCTETS + 1)
            if len(content) > _MAX_RULES_OCTETS:
                raise SettingError(RULES_FILE, f"{where} is larger than 256 KiB")
            return parse_rules(content.decode("utf-8-sig"))
        except RuleError as error:
            raise SettingError(RULES_FILE, f"{where}: {error}") from None
        except UnicodeDecodeError:
            raise SettingError(RULES_FILE, f"{where} is not text in UTF-8") from None
        except OSError as error:
            raise SettingError(RULES_FILE, f"{where} can't be read: {error.strerror}") from None


class DlqSettings(SettingsGroup):
    """When intake stops instead of filling the DLQ; below MAILTOPIC_DLQ__."""

    flood_share: float = Field(default=0.2, gt=0, le=1)
    """Share of the mails of one sender that may die; above it, intake stops. 1: it never stops."""

    flood_window_s: float = Field(default=300.0, ge=120, le=86_400)
    """Seconds over which that share is measured."""

    flood_least: int = Field(default=100, ge=1, le=100_000)
    """Mails that must die in that time at least; garbage, which isn't a mail, doesn't count."""

    @property
    def limits(self) -> FloodLimits:
        """Return the definition of a flood."""
        return FloodLimits(self.flood_share, self.flood_window_s, self.flood_least)


class TemplateSettings(SettingsGroup):
    """The texts of mails; below MAILTOPIC_TEMPLATE__."""

    default_locale: str = Field(default="ru", pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,4}$")
    """The language of mails whose own has no template, and of the original payload."""

    directory: Path | None = None
    """Files with your own templates, beside the built-in ones: <purpose>.<locale>.subject, .text
    and .html, such as signup.ru.subject; the purpose any is for all that have none.
    """


class TopicsSettings(SettingsGroup):
    """Topics that have to be created; below MAILTOPIC_TOPICS__."""

    partitions: int = Field(default=6, ge=1, le=10_000)
    """Partitions of a main topic that is created: at most this many senders share the work."""

    replication: int = Field(default=-1, ge=-1, le=100)
    """Replicas of each partition of a created topic; -1 is the broker's default."""


class ConsumerSettings(SettingsGroup):
    """Membership in the consumer group; below MAILTOPIC_CONSUMER__."""

    session_timeout_s: float = Field(default=12.0, ge=6, le=300)
    """Seconds after which others take over from a sender that died."""

    rebalance_timeout_s: float = Field(default=60.0, ge=10, le=900)
    """Seconds that members may take to hand over; above the drain timeout."""

    instance_id: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._-]{1,200}$")
    """A unique name that this sender keeps over restarts, such as its pod's in a StatefulSet: a
    restart within the session timeout moves no partitions. The cost: the partitions of a sender
    that stopped for good wait for the session timeout.
    """


class WatchdogSettings(SettingsGroup):
    """When a process without progress ends itself; below MAILTOPIC_WATCHDOG__."""

    stall_timeout_s: float = Field(default=120.0, ge=10, le=3600)
    """Seconds without any progress while there are mails to deliver, a relay accepts mails and
    Kafka answers; above the longest pause between two mails that a rate limit causes.
    """


# A class body can't declare a field named "from", but users know MAILTOPIC_FROM__….
_FROM: Any = {"from": (FromSettings, Field(default_factory=FromSettings))}
_WithFrom = create_model("_WithFrom", __base__=MailTopicSettings, **_FROM)


class MailSettings(_WithFrom):
    """The settings of mails and relays: all that a check of the relays needs."""

    smtp: SmtpSettings | None = None
    relays: SecretStr | None = None
    """Several relays in order of preference, instead of MAILTOPIC_SMTP__*: a JSON list of objects
    with name, host and the other fields of MAILTOPIC_SMTP__*, in lower case; with username_file,
    password_file, and in oauth client_secret_file, refresh_token_file, service_account_file.
    """

    dkim: DkimSettings = Field(default_factory=DkimSettings)
    replies: RepliesSettings = Field(default_factory=RepliesSettings)
    template: TemplateSettings = Field(default_factory=TemplateSettings)
    log: LogSettings = Field(default_factory=LogSettings)

    @classmethod
    def aliases(cls) -> Mapping[str, str]:
        """The original consumer's variables."""
        return {
            "MAIL_HOST": "MAILTOPIC_SMTP__HOST",
            "MAIL_PORT": "MAILTOPIC_SMTP__PORT",
            "MAIL_USER": "MAILTOPIC_SMTP__USERNAME",
            "MAIL_PASS": "MAILTOPIC_SMTP__PASSWORD",
            "MAIL_FROM_NAME": "MAILTOPIC_FROM__NAME",
        }

    @model_validator(mode="after")
    def _has_relays(self) -> Self:
        if self.relays is None and self.smtp is None:
            raise ValueError(
                f"MAILTOPIC_SMTP__HOST is required (or MAIL_HOST, or {RELAYS} for several relays)"
            )
        if self.relays is not None and self.smtp is not None:
            raise ValueError(
                f"{RELAYS} can't stand beside MAILTOPIC_SMTP__HOST: put that relay in the list"
            )
        if self.relays is not None:
            parse_relays(self.relays.get_secret_value())
        return self

    @model_validator(mode="after")
    def _signs_with_keys(self) -> Self:
        # A user that wants signatures must not learn from bounces that there were none.
        if self.dkim.selectors and self.dkim.keys_directory is None:
            raise ValueError("MAILTOPIC_DKIM__KEYS_DIRECTORY is required: it holds the keys")
        if not self.dkim.selectors and (self.dkim.keys_directory or self.dkim.domain):
            raise ValueError("MAILTOPIC_DKIM__SELECTORS is required: they name the keys")
        return self

    @property
    def mail_from(self) -> FromSettings:
        """The sender of mails."""
        value: FromSettings = getattr(self, "from")
        return value

    def open_relays(self) -> tuple[RelaySettings, ...]:
        """Return the relays in order of preference, with their passwords.

        Raises:
            SettingError: a password file can't be read, or the file with reply rules can't be used.
        """
        rules = self.replies.rules()
        if self.relays is not None:
            relays = open_relays(parse_relays(self.relays.get_secret_value()))
        else:
            relays = (self.smtp.only_relay(),) if self.smtp is not None else ()
        return tuple(replace(relay, reply_rules=rules) for relay in relays)

    def from_address(self) -> Address:
        """Return the address that mails come from.

        Raises:
            SettingError: it is missing, or isn't an address that every relay accepts.
        """
        text = self.mail_from.address or self._first_username()
        name = "MAILTOPIC_FROM__ADDRESS"
        if not text:
            raise SettingError(name, "is required where nobody logs in at the relay")
        try:
            address = parse_address(text)
        except ContractError as error:
            problem = f"is not an e-mail address: {error}"
            if not self.mail_from.address:
                problem = "is required: the user who logs in at the relay is no e-mail address"
            raise SettingError(name, problem) from None
        if address.needs_smtputf8:
            raise SettingError(name, "must be ASCII before the @")
        return address

    def _first_username(self) -> str | None:
        if self.relays is not None:
            return login_name(1, parse_relays(self.relays.get_secret_value())[0])
        return self.smtp.username if self.smtp is not None else None


class SenderSettings(MailSettings):
    """All settings of the sender."""

    kafka: KafkaSettings
    topic: str = Field(min_length=1)
    """The main topic; its retry topics, DLQ and status topic are named after it."""

    group: str | None = None
    """The consumer group; unset: the topic's name."""

    sealing: SealingSettings = Field(default_factory=SealingSettings)
    delivery: DeliverySettings = Field(default_factory=DeliverySettings)
    dlq: DlqSettings = Field(default_factory=DlqSettings)
    topics: TopicsSettings = Field(default_factory=TopicsSettings)
    consumer: ConsumerSettings = Field(default_factory=ConsumerSettings)
    watchdog: WatchdogSettings = Field(default_factory=WatchdogSettings)
    metrics: MetricsSettings = Field(default_factory=MetricsSettings)
    tracing: TracingSettings = Field(default_factory=TracingSettings)

    @classmethod
    def aliases(cls) -> Mapping[str, str]:
        """The original consumer's variables."""
        return {
            "KAFKA_BROKERS": "MAILTOPIC_KAFKA__BOOTSTRAP_SERVERS",
            "KAFKA_TOPIC": "MAILTOPIC_TOPIC",
            **super().aliases(),
        }

    @field_validator("topic")
    @classmethod
    def _names_topics(cls, topic: str) -> str:
        TopicNames(topic)
        return topic

    @model_validator(mode="after")
    def _drains_in_time(self) -> Self:
        if self.delivery.drain_timeout_s >= self.consumer.rebalance_timeout_s:
            raise ValueError(
                "MAILTOPIC_DELIVERY__DRAIN_TIMEOUT_S must be below"
                " MAILTOPIC_CONSUMER__REBALANCE_TIMEOUT_S"
            )
        return self

    @property
    def names(self) -> TopicNames:
        """The topics of this MailTopic."""
        return TopicNames(self.topic, self.delivery.tiers)

    @property
    def group_id(self) -> str:
        """The consumer group."""
        return self.group or self.topic
