"""What the devstack tells the services that it starts."""

from pathlib import Path

import pytest

from mailtopic_cli.devstack.ports import Ports
from mailtopic_cli.devstack.services import base_environment, services
from mailtopic_cli.devstack.state_dir import StateDir


def test_each_sender_has_a_metrics_port_of_its_own_and_the_same_relay(tmp_path: Path) -> None:
    found = services(StateDir(tmp_path), Ports.from_base(18000, 2))
    assert [service.name for service in found] == ["inbox", "signup", "sender-1", "sender-2"]
    senders = found[2:]
    assert [s.env["MAILTOPIC_METRICS__PORT"] for s in senders] == ["18005", "18006"]
    assert {s.env["MAILTOPIC_SMTP__PORT"] for s in senders} == {"18002"}
    assert {s.env["MAILTOPIC_KAFKA__BOOTSTRAP_SERVERS"] for s in found[1:]} == {"127.0.0.1:18003"}


def test_signup_and_senders_share_the_sealing_keys(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    found = services(state, Ports.default(3))[1:]
    assert {s.env["MAILTOPIC_SEALING__KEYS_FILE"] for s in found} == {str(state.sealing_keys)}


@pytest.mark.parametrize(
    ("name", "is_path"),
    [
        ("MAILTOPIC_TEMPLATE__DIRECTORY", True),
        ("MAILTOPIC_TEMPLATE__DEFAULT_LOCALE", False),
        ("MAILTOPIC_MAILS__TOKENS_FILE", True),
        ("MAILTOPIC_DEFAULT_LOCALE", False),
    ],
)
def test_templates_tokens_and_languages_of_the_shell_reach_the_services(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, *, is_path: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(name, "en")
    started = services(StateDir(tmp_path), Ports.default(1))
    assert base_environment()[name] == (str(tmp_path / "en") if is_path else "en")
    assert not any(name in service.env for service in started)  # which would win


def test_settings_of_the_shell_do_not_reach_the_services(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MAILTOPIC_SMTP__PASSWORD", "MAIL_PASS", "KAFKA_BROKERS"):
        monkeypatch.setenv(name, "of another place")
    monkeypatch.setenv("MAILTOPIC_LOG__LEVEL", "debug")
    environment = base_environment()
    assert "of another place" not in environment.values()
    assert environment["MAILTOPIC_LOG__LEVEL"] == "debug"
    assert environment["MAILTOPIC_LOG__FORMAT"] == "text"
