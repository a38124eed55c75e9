"""Settings from the environment, and the one line about a bad one."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import Field, SecretStr

from mailtopic_runtime import (
    LogSettings,
    MailTopicSettings,
    SettingsGroup,
    describe_settings,
    load_settings,
)


class RelaySettings(SettingsGroup):
    host: str
    """The relay's name."""
    port: int = Field(default=587, ge=1, le=65535)
    """The relay's port."""
    password: SecretStr | None = None
    """The relay's password."""


class ExampleSettings(MailTopicSettings):
    topic: str
    """The main topic."""
    relay: RelaySettings
    tiers: tuple[str, ...] = ("10s", "1m")
    """Delays."""
    log: LogSettings = LogSettings()

    @classmethod
    def aliases(cls) -> Mapping[str, str]:
        return {
            "KAFKA_TOPIC": "MAILTOPIC_TOPIC",
            "MAIL_HOST": "MAILTOPIC_RELAY__HOST",
            "MAIL_PORT": "MAILTOPIC_RELAY__PORT",
            "MAIL_PASS": "MAILTOPIC_RELAY__PASSWORD",
        }


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("MAILTOPIC_TOPIC", "mails")
    monkeypatch.setenv("MAILTOPIC_RELAY__HOST", "relay.test")
    return monkeypatch


def problem(capsys: pytest.CaptureFixture[str]) -> str:
    """Load settings that can't be used; return the one line."""
    with pytest.raises(SystemExit) as stopped:
        load_settings(ExampleSettings, "program")
    assert stopped.value.code == 2
    line = capsys.readouterr().err
    assert line.startswith("program: ")
    assert line.count("\n") == 1
    return line.removeprefix("program: ").rstrip()


def test_levels_are_separated_by_two_underscores(env: pytest.MonkeyPatch) -> None:
    env.setenv("MAILTOPIC_RELAY__PORT", "2525")
    settings = load_settings(ExampleSettings, "program")
    assert (settings.topic, settings.relay.host, settings.relay.port) == (
        "mails",
        "relay.test",
        2525,
    )


def test_a_list_is_written_with_commas(env: pytest.MonkeyPatch) -> None:
    env.setenv("MAILTOPIC_TIERS", "5s, 30s,2m")
    assert load_settings(ExampleSettings, "program").tiers == ("5s", "30s", "2m")


def test_another_variable_stands_in_and_ours_wins(env: pytest.MonkeyPatch) -> None:
    env.setenv("KAFKA_TOPIC", "other")
    env.setenv("MAIL_PORT", "25")
    settings = load_settings(ExampleSettings, "program")
    assert (settings.topic, settings.relay.port) == ("mails", 25)


def test_a_secret_is_read_from_its_file_without_the_last_line_end(
    env: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("s3cret \n")
    env.setenv("MAILTOPIC_RELAY__PASSWORD_FILE", str(tmp_path / "password"))
    secret = load_settings(ExampleSettings, "program").relay.password
    assert secret is not None
    assert secret.get_secret_value().strip() == "s3cret"


def test_an_empty_variable_counts_as_absent(env: pytest.MonkeyPatch) -> None:
    env.setenv("MAILTOPIC_RELAY__PORT", "")
    assert load_settings(ExampleSettings, "program").relay.port == 587


def test_a_missing_setting_is_named_with_its_other_name(
    env: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    env.delenv("MAILTOPIC_RELAY__HOST")
    assert problem(capsys) == "MAILTOPIC_RELAY__HOST: is required (or MAIL_HOST)"


def test_a_malformed_setting_is_named_as_the_user_wrote_it(
    env: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    env.setenv("MAIL_PORT", "smtp")
    assert problem(capsys).startswith("MAIL_PORT: ")


def test_a_setting_that_does_not_exist_in_a_known_group_is_named(
    env: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    env.setenv("MAILTOPIC_RELAY__HOTS", "relay.test")
    assert problem(capsys) == "MAILTOPIC_RELAY__HOTS: is not a setting"


def test_a_secret_file_that_cannot_be_read_is_named(
    env: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    env.setenv("MAILTOPIC_RELAY__PASSWORD_FILE", str(tmp_path / "nothing"))
    line = problem(capsys)
    assert line.startswith("MAILTOPIC_RELAY__PASSWORD_FILE: ")
    assert "No such file" in line


def test_help_lists_every_setting_with_default_and_purpose() -> None:
    text = describe_settings(ExampleSettings)
    for part in (
        "MAILTOPIC_TOPIC  (required)",
        "MAILTOPIC_RELAY__PORT  (587)",
        "The relay's port.",
        "MAILTOPIC_TIERS  (10s,1m)",
        "MAILTOPIC_LOG__LEVEL  (info)",
        "MAIL_HOST = MAILTOPIC_RELAY__HOST",
    ):
        assert part in text
