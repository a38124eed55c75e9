"""The settings of the operator's border: what they make, and what is refused by name."""

import pytest

from mailtopic_operator.domain.defaults import Border
from mailtopic_operator.settings import OperatorSettings
from mailtopic_runtime import load_settings

OWN = "MAILTOPIC_OPERATOR__"


@pytest.fixture(autouse=True)
def kafka(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAILTOPIC_KAFKA__BOOTSTRAP_SERVERS", "kafka:9092")


def _border() -> Border:
    return load_settings(OperatorSettings, "mailtopic-operator").defaults().border


def test_one_namespace_needs_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _border() == Border(is_shared=True), "no namespace named: all of the cluster's"
    monkeypatch.setenv(f"{OWN}WATCH_NAMESPACES", "mail")
    assert _border() == Border()
    monkeypatch.setenv(f"{OWN}WATCH_NAMESPACES", "mail,shop")
    assert _border() == Border(is_shared=True)


def test_every_part_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    prefixes = '{"shop": ["shop-", "codes"], "*": ["{namespace}."]}'
    monkeypatch.setenv(f"{OWN}TOPICS__PREFIXES", prefixes)
    monkeypatch.setenv(f"{OWN}SECRETS__ALLOWED", "relay,ca")
    monkeypatch.setenv(f"{OWN}SENDER__POD_TEMPLATE_FIELDS", "spec.volumes,spec.containers")
    assert _border() == Border(
        topic_prefixes={"shop": ("shop-", "codes"), "*": ("{namespace}.",)},
        is_shared=True,
        secrets=("relay", "ca"),
        pod_fields=("spec.volumes", "spec.containers"),
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TOPICS__PREFIXES", '{"shop": ["__"]}'),
        ("TOPICS__PREFIXES", '{"shop": [""]}'),
        ("TOPICS__PREFIXES", '{"shop": ["a b"]}'),
        ("TOPICS__PREFIXES", '{"shop": ["shop.*"]}'),
        ("TOPICS__PREFIXES", '{"shop": ["{name}."]}'),
        ("TOPICS__PREFIXES", '{"Shop": ["shop."]}'),
        ("TOPICS__PREFIXES", '{"shop": "shop."}'),
        ("TOPICS__PREFIXES", "shop."),
        ("SECRETS__ALLOWED", "Relay"),
        ("SECRETS__ALLOWED", "relay-*"),
        ("SENDER__POD_TEMPLATE_FIELDS", "volumes"),
        ("SENDER__POD_TEMPLATE_FIELDS", "spec.*"),
        ("SENDER__POD_TEMPLATE_FIELDS", "spec.containers[0]"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    monkeypatch.setenv(OWN + name, value)
    with pytest.raises(SystemExit) as ended:
        _border()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert OWN + name in line
