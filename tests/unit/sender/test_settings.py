"""Settings: the names of ours, those of the original consumer, and one line for a bad one."""

import os
from pathlib import Path

import pytest

from mailtopic_runtime import SettingError, describe_settings, load_settings
from mailtopic_sender.adapters.dkim_files import load_signer
from mailtopic_sender.adapters.smtp_settings import Security
from mailtopic_sender.settings import SenderSettings

ORIGINAL = {
    "KAFKA_BROKERS": "one:9092,two:9092",
    "KAFKA_TOPIC": "mails",
    "MAIL_HOST": "smtp.example.com",
    "MAIL_PORT": "465",
    "MAIL_USER": "user@example.com",
    "MAIL_PASS": "secret",
    "MAIL_FROM_NAME": "Служба",
}
OURS = {
    "MAILTOPIC_KAFKA__BOOTSTRAP_SERVERS": "one:9092",
    "MAILTOPIC_TOPIC": "mails",
    "MAILTOPIC_SMTP__HOST": "smtp.example.com",
    "MAILTOPIC_FROM__ADDRESS": "noreply@example.com",
}


def load(monkeypatch: pytest.MonkeyPatch, env: dict[str, str]) -> SenderSettings:
    for name in list(os.environ):
        if name.startswith(("MAILTOPIC_", "KAFKA_", "MAIL_")):
            monkeypatch.delenv(name)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return load_settings(SenderSettings, "mailtopic-sender")


def complaint(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], env: dict[str, str]
) -> str:
    with pytest.raises(SystemExit) as ended:
        load(monkeypatch, env)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_the_original_variables_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch, ORIGINAL)
    relay = settings.open_relays()[0]
    assert settings.kafka.bootstrap_servers == ("one:9092", "two:9092")
    assert (settings.topic, settings.group_id) == ("mails", "mails")
    assert (relay.host, relay.port, relay.security) == ("smtp.example.com", 465, Security.TLS)
    assert (relay.username, relay.password) == ("user@example.com", "secret")
    assert settings.mail_from.name == "Служба"
    assert settings.from_address().normalised == "user@example.com"


def test_our_own_names_win(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch, ORIGINAL | OURS | {"MAILTOPIC_GROUP": "g"})
    assert settings.kafka.bootstrap_servers == ("one:9092",)
    assert settings.from_address().normalised == "noreply@example.com"
    assert settings.group_id == "g"


def test_starttls_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    relay = load(monkeypatch, OURS).open_relays()[0]
    assert (relay.port, relay.security) == (587, Security.STARTTLS)
    relay = load(monkeypatch, OURS | {"MAILTOPIC_SMTP__SECURITY": "none"}).open_relays()[0]
    assert relay.security is Security.NONE


def test_a_user_that_is_no_address_needs_a_from_address(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch, ORIGINAL | {"MAIL_USER": "apikey"})
    with pytest.raises(SettingError) as error:
        settings.from_address()
    assert error.value.name == "MAILTOPIC_FROM__ADDRESS"


def test_retry_tiers_are_read_as_people_write_them(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch, OURS | {"MAILTOPIC_DELIVERY__RETRY_TIERS": "5s, 2m"})
    assert settings.names.retries == ("mails.retry.5s", "mails.retry.2m")


@pytest.mark.parametrize(
    ("env", "name"),
    [
        ({"MAILTOPIC_TOPIC": "a b"}, "MAILTOPIC_TOPIC"),
        ({"MAILTOPIC_SMTP__PORT": "no"}, "MAILTOPIC_SMTP__PORT"),
        ({"MAILTOPIC_SMTP__SECURITY": "maybe"}, "MAILTOPIC_SMTP__SECURITY"),
        ({"MAILTOPIC_DELIVERY__RETRY_TIERS": "1m,10s"}, "MAILTOPIC_DELIVERY__RETRY_TIERS"),
        ({"MAILTOPIC_DELIVERY__ON_UNKNOWN": "Guess"}, "MAILTOPIC_DELIVERY__ON_UNKNOWN"),
        ({"MAILTOPIC_DELIVERY__DRAIN_TIMEOUT_S": "60"}, "MAILTOPIC_DELIVERY__DRAIN_TIMEOUT_S"),
        ({"MAILTOPIC_SMTP__USERNAME": "u"}, "MAILTOPIC_SMTP__PASSWORD"),
        ({"MAILTOPIC_FROM__COLOUR": "red"}, "MAILTOPIC_FROM__COLOUR"),
    ],
)
def test_a_bad_setting_is_named_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    env: dict[str, str],
    name: str,
) -> None:
    assert name in complaint(monkeypatch, capsys, OURS | env)


@pytest.mark.parametrize("name", ["MAILTOPIC_TOPIC", "MAILTOPIC_SMTP__HOST"])
def test_a_missing_setting_is_named_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    env = {ours: value for ours, value in OURS.items() if ours != name}
    assert name in complaint(monkeypatch, capsys, env)


def test_every_setting_says_what_it_is_for() -> None:
    help_text = describe_settings(SenderSettings)
    assert "MAILTOPIC_FROM__ADDRESS" in help_text
    assert "\n      \n" not in help_text


@pytest.mark.parametrize(
    ("env", "named"),
    [
        ({"SELECTORS": "2026a"}, "MAILTOPIC_DKIM__KEYS_DIRECTORY: is required"),
        ({"KEYS_DIRECTORY": "/keys"}, "MAILTOPIC_DKIM__SELECTORS: is required"),
        ({"SELECTORS": "../a", "KEYS_DIRECTORY": "/keys"}, "MAILTOPIC_DKIM__SELECTORS"),
        ({"SELECTORS": "a,a", "KEYS_DIRECTORY": "/keys"}, "MAILTOPIC_DKIM__SELECTORS"),
        ({"DOMAIN": "exa mple.com", "SELECTORS": "a"}, "MAILTOPIC_DKIM__DOMAIN"),
        ({"DOMAIN": "[192.0.2.1]", "SELECTORS": "a"}, "MAILTOPIC_DKIM__DOMAIN"),
    ],
)
def test_half_a_signature_is_refused(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    env: dict[str, str],
    named: str,
) -> None:
    dkim = {f"MAILTOPIC_DKIM__{name}": value for name, value in env.items()}
    assert named in complaint(monkeypatch, capsys, OURS | dkim)


def test_keys_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    (tmp_path / "b.pem").write_text("no key")
    for selector in ("a", "b"):
        with pytest.raises(SettingError, match=rf"KEYS_DIRECTORY.*{selector}\.pem") as caught:
            load_signer("example.com", [selector], tmp_path)
        assert "\n" not in str(caught.value)
