"""Several relays from one setting, and one line for an entry that can't be used."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from mailtopic_runtime import SettingError, describe_settings, load_settings
from mailtopic_sender.adapters.smtp_settings import Security, client_tls
from mailtopic_sender.relays import open_relays, parse_relays
from mailtopic_sender.settings import SenderSettings

BASE = {
    "MAILTOPIC_KAFKA__BOOTSTRAP_SERVERS": "one:9092",
    "MAILTOPIC_TOPIC": "mails",
    "MAILTOPIC_FROM__ADDRESS": "noreply@example.com",
}
A = {"name": "a", "host": "a.example.com"}
B = {"name": "b", "host": "b.example.com"}


def load(monkeypatch: pytest.MonkeyPatch, env: dict[str, str]) -> SenderSettings:
    for name in list(os.environ):
        if name.startswith(("MAILTOPIC_", "KAFKA_", "MAIL_")):
            monkeypatch.delenv(name)
    for name, value in (BASE | env).items():
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


def test_relays_come_in_the_order_in_which_they_are_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("secret\n")
    full: dict[str, Any] = {
        "name": "main",
        "host": "smtp.example.com",
        "port": 2465,
        "security": "tls",
        "username": "user@example.com",
        "password_file": str(tmp_path / "password"),
        "ca_file": "/etc/ca.pem",
        "max_connections": 4,
        "rate_per_s": 14,
    }
    settings = load(monkeypatch, {"MAILTOPIC_RELAYS": json.dumps([full, B])})
    main, other = settings.open_relays()
    assert (main.name, main.host, main.port, main.security) == (
        "main",
        "smtp.example.com",
        2465,
        Security.TLS,
    )
    assert (main.username, main.password) == ("user@example.com", "secret")
    assert (main.ca_file, main.max_connections, main.rate_per_s) == (Path("/etc/ca.pem"), 4, 14.0)
    assert (other.name, other.port, other.security) == ("b", 587, Security.STARTTLS)
    assert (other.username, other.rate_per_s, other.max_connections) == (None, None, 10)


def test_a_file_may_hold_the_list(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "relays.json"
    path.write_text(json.dumps([A, B]) + "\n")
    settings = load(monkeypatch, {"MAILTOPIC_RELAYS_FILE": str(path)})
    assert [relay.name for relay in settings.open_relays()] == ["a", "b"]


def test_the_first_relays_user_is_the_sender_if_nobody_else_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    login = {"username": "user@example.com", "password_file": str(tmp_path / "password")}
    env = {"MAILTOPIC_RELAYS": json.dumps([A | login, B]), "MAILTOPIC_FROM__ADDRESS": ""}
    assert load(monkeypatch, env).from_address().normalised == "user@example.com"


def test_one_relay_may_have_a_rate_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    env = {"MAILTOPIC_SMTP__HOST": "smtp.example.com", "MAILTOPIC_SMTP__RATE_PER_S": "0.5"}
    (relay,) = load(monkeypatch, env).open_relays()
    assert (relay.name, relay.rate_per_s) == ("smtp.example.com", 0.5)


@pytest.mark.parametrize(
    ("relays", "line"),
    [
        ("{", "MAILTOPIC_RELAYS: is not valid JSON (line 1, column 2)"),
        ("[]", "MAILTOPIC_RELAYS: must be a JSON list of relays, at least one"),
        (A, "MAILTOPIC_RELAYS: must be a JSON list of relays, at least one"),
        (["a"], "MAILTOPIC_RELAYS: entry 1 must be an object with name, host and more"),
        ([A, {"host": "h"}], "MAILTOPIC_RELAYS: entry 2: name is required"),
        ([A, {"name": "b"}], "MAILTOPIC_RELAYS: entry 2 (b): host is required"),
        ([A, B, A], "MAILTOPIC_RELAYS: entry 3 (a): entry 1 has that name, too"),
        ([A | {"security": "maybe"}], "entry 1 (a): security: must be StartTLS, TLS or None"),
        ([A | {"username": "u"}], "entry 1 (a): username and password_file need each other"),
        ([A | {"password": "hidden"}], "entry 1 (a): password is not known; known are ca_file"),
        ([A | {"port": 0}], "MAILTOPIC_RELAYS: entry 1 (a): port: "),
        ([A | {"rate_per_s": -1}], "MAILTOPIC_RELAYS: entry 1 (a): rate_per_s: "),
        ([A | {"name": "a b\n"}], "MAILTOPIC_RELAYS: entry 1: name: "),
    ],
)
def test_a_bad_entry_is_named_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], relays: Any, line: str
) -> None:
    text = relays if isinstance(relays, str) else json.dumps(relays)
    told = complaint(monkeypatch, capsys, {"MAILTOPIC_RELAYS": text})
    assert line in told
    assert "hidden" not in told


def test_one_relay_and_several_do_not_go_together(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    env = {"MAILTOPIC_RELAYS": json.dumps([A]), "MAIL_HOST": "smtp.example.com"}
    assert "MAILTOPIC_RELAYS" in complaint(monkeypatch, capsys, env)


def test_a_password_file_that_is_missing_or_empty_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "password"
    login = {"username": "u", "password_file": str(path)}
    settings = load(monkeypatch, {"MAILTOPIC_RELAYS": json.dumps([A, B | login])})
    with pytest.raises(SettingError, match="No such file") as error:
        settings.open_relays()
    assert error.value.name == "MAILTOPIC_RELAYS entry 2 (b), password_file"
    path.write_text("\n")
    with pytest.raises(SettingError, match="is empty"):
        settings.open_relays()


def test_a_bad_ca_file_is_named_with_its_entry(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    entry = A | {"ca_file": str(tmp_path / "none.pem")}
    settings = load(monkeypatch, {"MAILTOPIC_RELAYS": json.dumps([entry])})
    with pytest.raises(SettingError) as error:
        client_tls(settings.open_relays()[0])
    assert error.value.name == "MAILTOPIC_RELAYS entry 1 (a), ca_file"


def test_no_relay_at_all_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = complaint(monkeypatch, capsys, {})
    assert "MAILTOPIC_SMTP__HOST: is required" in told


def test_the_help_names_both_ways() -> None:
    text = describe_settings(SenderSettings)
    assert "MAILTOPIC_RELAYS " in text
    assert "MAILTOPIC_SMTP__RATE_PER_S" in text
    assert "MAILTOPIC_SMTP__PASSWORD" in text


def test_the_user_who_logs_in_may_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "username").write_text("DOMAIN\\user\n")
    (tmp_path / "password").write_text("secret\n")
    login = {
        "username_file": str(tmp_path / "username"),
        "password_file": str(tmp_path / "password"),
    }
    (relay,) = open_relays(parse_relays(json.dumps([A | login])))
    assert (relay.username, relay.password) == ("DOMAIN\\user", "secret")
    assert set(relay.credential_files) == {tmp_path / "username", tmp_path / "password"}


def test_a_user_is_given_once(tmp_path: Path) -> None:
    login = {"username": "u", "username_file": "f", "password_file": str(tmp_path / "password")}
    with pytest.raises(SettingError, match="username and username_file can't stand beside"):
        parse_relays(json.dumps([A | login]))
