"""Where the DLQ is: options, then the environment, then the devstack that runs on this machine."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field, field_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
)

from mailtopic_cli.devstack.run_file import read_run_file
from mailtopic_cli.devstack.services import TOPIC
from mailtopic_cli.devstack.state_dir import StateDir, default_state_dir
from mailtopic_client import KafkaSettings
from mailtopic_contract import LegacyDefaults, TopicNames
from mailtopic_runtime import MailTopicSettings, SettingsGroup, load_settings


class DeliverySettings(SettingsGroup):
    """The senders' settings about mails that are needed here."""

    # The environment may also hold the senders' other settings.
    model_config = SettingsGroup.model_config | {"extra": "ignore"}

    max_age_s: float = Field(default=3600, gt=0, le=86_400)
    """Lifetime in seconds of mails in the original payload, which has no expiry of its own."""

    superseding_purposes: tuple[str, ...] = ("signup",)
    """Purposes for which a newer mail to the same address supersedes older ones."""


class DlqSettings(MailTopicSettings):
    """The environment of `mailtopic dlq`: the same as the senders'."""

    kafka: KafkaSettings
    topic: str = Field(min_length=1)
    """The main topic; the DLQ and the status topic are named after it."""

    delivery: DeliverySettings = Field(default_factory=DeliverySettings)

    @field_validator("topic")
    @classmethod
    def _names_topics(cls, topic: str) -> str:
        TopicNames(topic)
        return topic

    @classmethod
    def aliases(cls) -> Mapping[str, str]:
        """The original consumer's variables."""
        return {
            "KAFKA_BROKERS": "MAILTOPIC_KAFKA__BOOTSTRAP_SERVERS",
            "KAFKA_TOPIC": "MAILTOPIC_TOPIC",
        }

    @property
    def names(self) -> TopicNames:
        """The topics' names, without retry tiers."""
        return TopicNames(self.topic)

    @property
    def legacy(self) -> LegacyDefaults:
        """Defaults for the original payload; the language isn't shown here."""
        return LegacyDefaults(locale="en", max_age_ms=round(self.delivery.max_age_s * 1000))


def load_dlq_settings(
    program: str, *, topic: str | None, bootstrap_servers: str | None
) -> DlqSettings:
    """Return the settings, or end the process with one line and code 2.

    Raises:
        SystemExit: with code 2, after the line has been written to standard error.
    """
    given: dict[str, Any] = {}
    if topic is not None:
        given["topic"] = topic
    if bootstrap_servers is not None:
        servers = [server.strip() for server in bootstrap_servers.split(",")]
        given["kafka"] = {"bootstrap_servers": servers}

    class Settings(DlqSettings):
        @classmethod
        def settings_customise_sources(
            cls, settings_cls: type[BaseSettings], *args: Any, **kwargs: Any
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            others = super().settings_customise_sources(settings_cls, *args, **kwargs)
            return (
                InitSettingsSource(settings_cls, given),
                *others,
                InitSettingsSource(settings_cls, _devstack()),
            )

    return load_settings(Settings, program)


def _devstack() -> dict[str, Any]:
    state = StateDir(default_state_dir())
    run = read_run_file(state.run_file) if state.is_in_use() else None
    return {} if run is None else {"kafka": {"bootstrap_servers": [run["kafka"]]}, "topic": TOPIC}
