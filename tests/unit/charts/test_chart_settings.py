"""Charts and services agree on every setting's name, and on its default."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from mailtopic_inbox.settings import InboxSettings
from mailtopic_runtime.settings import MailTopicSettings, SettingInfo, walk_settings
from mailtopic_sender.settings import SenderSettings
from mailtopic_signup.settings import MigrateSettings, SignupSettings
from support.chart_cases import ChartCase, chart_cases
from support.helm import CHARTS, Helm, Manifest, pod_templates

CASES = [case for case in chart_cases() if case.chart in {"mailtopic", "signup", "sender", "inbox"}]
SETTINGS: dict[str, type[MailTopicSettings]] = {
    "signup": SignupSettings,
    "sender": SenderSettings,
    "inbox": InboxSettings,
    "migration": MigrateSettings,
}
TIMEOUTS = ("connectS", "greetingS", "commandS", "envelopeS", "blockS", "dotS")
# What can't be set by a value of the chart, and why.
LEFT_OUT = {
    "MAILTOPIC_CONSUMER__INSTANCE_ID",  # each pod needs its own; pods of a Deployment keep no name
    "MAILTOPIC_DKIM__KEYS_DIRECTORY",  # where dkim.existingSecret is mounted
    "MAILTOPIC_TRACING__HEADERS",  # a collector in the cluster wants none; extraEnv has Secrets
    "MAILTOPIC_REPLIES__RULES_FILE",  # where replies.rules are mounted
    "MAILTOPIC_TEMPLATE__DIRECTORY",  # set by template.files and template.existingConfigMap
}
# Defaults that differ in a pod: it is reached from outside, and not from a shell's directory.
IN_PODS = {"MAILTOPIC_METRICS__HOST", "MAILTOPIC_METRICS__PORT", "MAILTOPIC_HTTP__HOST"}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_setting_that_a_chart_names_is_one(newest_helm: Helm, case: ChartCase) -> None:
    for service, names in environments(case.render(newest_helm)):
        settings = list(walk_settings(SETTINGS[service]))
        known = {each.name for each in settings}
        known |= {f"{each.name}_FILE" for each in settings if each.is_secret}
        ours = {name for name in names if name.startswith("MAILTOPIC_")}
        assert ours - known == set(), service


@pytest.mark.parametrize("service", ["signup", "sender"])
def test_every_setting_can_be_set_by_a_value(newest_helm: Helm, service: str) -> None:
    reached: set[str] = set()
    everything = (everything_set(newest_helm), *tokens_set(newest_helm))
    for objects in (*(case.render(newest_helm) for case in CASES), *everything):
        for found, names in environments(objects):
            reached |= names if found == service else set()
    missing = {
        each.name
        for each in walk_settings(SETTINGS[service])
        if not {each.name, f"{each.name}_FILE"} & reached
    }
    assert missing - LEFT_OUT == set()


@pytest.mark.parametrize("service", ["signup", "sender", "inbox"])
def test_a_chart_has_the_defaults_of_its_service(service: str) -> None:
    values = yaml.safe_load((CHARTS / service / "values.yaml").read_text("utf-8"))
    compared = 0
    for setting in walk_settings(SETTINGS[service]):
        value = value_of(values, setting.name)
        # What is empty is left to the service.
        if value in (None, "", []) or setting.name in IN_PODS or setting.field.is_required():
            continue
        compared += 1
        assert normal(value) == normal(default_of(setting)), setting.name
    assert compared >= {"signup": 15, "sender": 20, "inbox": 2}[service]


REQUIRED = {
    "MAILTOPIC_KAFKA__BOOTSTRAP_SERVERS": "kafka:9092",
    "MAILTOPIC_TOPIC": "mails",
    "MAILTOPIC_FROM__ADDRESS": "noreply@example.com",
    "MAILTOPIC_SMTP__HOST": "smtp.example.com",
    "MAILTOPIC_PEPPER__KEYS_FILE": "pepper-keys.json",
}


@pytest.mark.parametrize("service", ["signup", "sender", "inbox"])
def test_a_service_takes_each_of_its_defaults_as_the_text_of_a_variable(
    monkeypatch: pytest.MonkeyPatch, service: str
) -> None:
    for name, value in REQUIRED.items():
        monkeypatch.setenv(name, value)
    taken = 0
    for setting in walk_settings(SETTINGS[service]):
        default = default_of(setting)
        if setting.name in REQUIRED or not isinstance(default, bool | int | float | str):
            continue
        with monkeypatch.context() as one:
            one.setenv(setting.name, str(default))
            SETTINGS[service]()
            taken += 1
    assert taken >= {"signup": 30, "sender": 30, "inbox": 5}[service]


def everything_set(helm: Helm) -> list[Manifest]:
    """Both services with the settings that are otherwise left empty."""
    relay = {"host": "smtp.example.com", "username": "mailer", "existingSecret": "relay"}
    values = {
        "sender.group": "others",
        "sender.from": {"name": "Example", "address": "no-reply@example.com"},
        "sender.smtp": {
            **relay,
            "security": "TLS",
            "mailsPerConnection": 1000,
            "ratePerS": 5,
            "caSecret": {"name": "ca"},
            "mechanisms": ["LOGIN"],
            "pipelining": False,
            "ehloName": "mail.example.com",
            "timeouts": dict.fromkeys(
                ("connectS", "greetingS", "commandS", "envelopeS", "blockS", "dotS"), 30
            ),
        },
        "signup.mails.tokens.existingSecret": "tokens",
        "signup.recipients": {
            "dnsServer": "192.0.2.53",
            "blockedDomains": {"existingConfigMap": "blocked"},
        },
        "signup.pages.inboxUrl": "http://127.0.0.1:8025/",
        "signup.tracing.endpoint": "http://collector:4318",
        "sender.tracing.endpoint": "https://collector.example.com",
        "global.mailtopic.sealing.enabled": False,
    }
    return helm.template("mailtopic", values)


def tokens_set(helm: Helm) -> Iterator[list[Manifest]]:
    """A sender with sealing, and each way to get tokens; they exclude one another."""
    client = {"tokenUrl": "https://login.example.com/token", "clientId": "id", "scope": "send"}
    for oauth in (
        client | {"clientSecretKey": "a", "refreshTokenKey": "b", "caSecret": {"name": "ca"}},
        {"serviceAccountKey": "a"},
        {"tokenKey": "a"},
    ):
        relay = {"host": "smtp.example.com", "username": "bob@example.com"}
        smtp = relay | {"oauth": {"existingSecret": "relay"} | oauth}
        values = {"sender.smtp": smtp, "sender.sealing.formerTopics": ["old-mails"]}
        yield helm.template("mailtopic", values)


def environments(objects: list[Manifest]) -> Iterator[tuple[str, set[str]]]:
    """The names of the environment variables of each container of ours."""
    for template in pod_templates(objects).values():
        for container in template["spec"]["containers"]:
            if container["name"] in SETTINGS:
                yield container["name"], {each["name"] for each in container["env"]}


def value_of(values: dict[str, Any], setting: str) -> Any:
    """The chart's value for a setting; None where it has none of that name."""
    found: Any = values
    for part in setting.removeprefix("MAILTOPIC_").split("__"):
        if not isinstance(found, dict):
            return None
        found = {snake(key): below for key, below in found.items()}.get(part)
    return found


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).upper()


def default_of(setting: SettingInfo) -> Any:
    return setting.field.get_default(call_default_factory=True, validated_data={})


def normal(value: Any) -> Any:
    """A value as YAML writes it: nothing for unset, lists for tuples."""
    if isinstance(value, tuple | list):
        return [str(item) for item in value]
    return "" if value is None else value
