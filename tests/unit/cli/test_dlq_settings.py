import os

import pytest

from mailtopic_cli.dlq.settings import load_dlq_settings


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    for name in list(os.environ):
        if name.startswith(("MAILTOPIC_", "KAFKA_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def test_options_win_over_the_environment_and_keep_the_rest_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MAILTOPIC_TOPIC", "theirs")
    monkeypatch.setenv("MAILTOPIC_KAFKA__BOOTSTRAP_SERVERS", "theirs:1")
    monkeypatch.setenv("MAILTOPIC_KAFKA__SECURITY_PROTOCOL", "SASL_SSL")
    monkeypatch.setenv("MAILTOPIC_KAFKA__USERNAME", "someone")
    monkeypatch.setenv("MAILTOPIC_KAFKA__PASSWORD", "secret")
    settings = load_dlq_settings("dlq", topic="mine", bootstrap_servers="a:1, b:2")
    kwargs = settings.kafka.client_kwargs()
    assert settings.names.dlq == "mine.dlq"
    assert kwargs["bootstrap_servers"] == ["a:1", "b:2"]
    assert kwargs["security_protocol"] == "SASL_SSL"
    assert kwargs["sasl_plain_username"] == "someone"
    assert load_dlq_settings("dlq", topic=None, bootstrap_servers=None).topic == "theirs"


def test_the_senders_environment_may_be_given_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BROKERS", "a:1")
    monkeypatch.setenv("KAFKA_TOPIC", "mails")
    monkeypatch.setenv("MAILTOPIC_DELIVERY__RETRY_TIERS", "10s,1m")
    monkeypatch.setenv("MAILTOPIC_DELIVERY__MAX_AGE_S", "60")
    monkeypatch.setenv("MAILTOPIC_DELIVERY__SUPERSEDING_PURPOSES", "signup,login")
    settings = load_dlq_settings("dlq", topic=None, bootstrap_servers=None)
    assert settings.legacy.max_age_ms == 60_000
    assert settings.delivery.superseding_purposes == ("signup", "login")


@pytest.mark.parametrize(
    ("topic", "servers", "said"),
    [
        (None, "a:1", "MAILTOPIC_TOPIC: is required (or KAFKA_TOPIC)"),
        ("mails", None, "MAILTOPIC_KAFKA__BOOTSTRAP_SERVERS: is required (or KAFKA_BROKERS)"),
        ("two words", "a:1", "MAILTOPIC_TOPIC: a topic's name consists of"),
        ("mails", "nonsense", "MAILTOPIC_KAFKA__BOOTSTRAP_SERVERS: must be host:port"),
    ],
)
def test_a_wrong_setting_is_one_line_and_code_2(
    capsys: pytest.CaptureFixture[str], topic: str | None, servers: str | None, said: str
) -> None:
    with pytest.raises(SystemExit) as exit_:
        load_dlq_settings("dlq", topic=topic, bootstrap_servers=servers)
    error = capsys.readouterr().err
    assert exit_.value.code == 2
    assert error.startswith(f"dlq: {said}")
    assert error.count("\n") == 1
