"""The operator's chart: its settings, its rights, and what it refuses."""

import json
import re
from typing import Any

import pytest
import yaml

from mailtopic_operator.settings import OperatorSettings
from mailtopic_runtime.settings import walk_settings
from support.chart_cases import ChartCase, chart_cases
from support.helm import CHARTS, Helm, HelmError, Manifest, find

CASES = [case for case in chart_cases() if case.chart == "operator"]
SERVERS = {"kafka.bootstrapServers": "kafka:9092"}
# Where each setting's default stands in values.yaml.
DEFAULTS = {
    "MAILTOPIC_KAFKA__REQUEST_TIMEOUT_S": "kafka.requestTimeoutS",
    "MAILTOPIC_OPERATOR__WATCH_STALE_S": "watch.staleS",
    "MAILTOPIC_OPERATOR__KAFKA_USERS__PREFIX": "kafkaUsers.prefix",
    "MAILTOPIC_OPERATOR__SENDER__IMAGE_PULL_POLICY": "sender.image.pullPolicy",
    "MAILTOPIC_OPERATOR__SENDER__LOG_LEVEL": "sender.logLevel",
    "MAILTOPIC_OPERATOR__SENDER__TRACING__SAMPLE_RATIO": "sender.tracing.sampleRatio",
    "MAILTOPIC_OPERATOR__SENDER__NETWORK_POLICY": "sender.networkPolicy.enabled",
    "MAILTOPIC_OPERATOR__SENDER__KAFKA__PASSWORD_KEY": "sender.kafka.passwordSecret.key",
    "MAILTOPIC_OPERATOR__SENDER__KAFKA__CA_KEY": "sender.kafka.caSecret.key",
    "MAILTOPIC_OPERATOR__DELETION__DRAIN_TIMEOUT_S": "deletion.drainTimeoutS",
    "MAILTOPIC_OPERATOR__DELETION__GIVE_UP_S": "deletion.giveUpS",
    "MAILTOPIC_OPERATOR__RECONCILE__RESYNC_S": "reconcile.resyncS",
    "MAILTOPIC_OPERATOR__RECONCILE__SAMPLE_S": "reconcile.sampleS",
    "MAILTOPIC_OPERATOR__RECONCILE__BATCH_SIZE": "reconcile.batchSize",
    "MAILTOPIC_OPERATOR__RECONCILE__LINGER_S": "reconcile.lingerS",
    "MAILTOPIC_OPERATOR__RECONCILE__API_CONCURRENCY": "reconcile.apiConcurrency",
    "MAILTOPIC_OPERATOR__LEASE__DURATION_S": "lease.durationS",
    "MAILTOPIC_OPERATOR__LEASE__RENEW_S": "lease.renewS",
    "MAILTOPIC_LOG__LEVEL": "log.level",
    "MAILTOPIC_LOG__FORMAT": "log.format",
}
# Set by the pod's own name; by the operator's own connection; not offered by the chart.
LEFT_OUT = {
    "MAILTOPIC_OPERATOR__LEASE__IDENTITY",
    "MAILTOPIC_OPERATOR__SENDER__KAFKA__SECURITY_PROTOCOL",
    "MAILTOPIC_OPERATOR__SENDER__KAFKA__SASL_MECHANISM",
}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_setting_that_the_chart_names_is_one(newest_helm: Helm, case: ChartCase) -> None:
    settings = list(walk_settings(OperatorSettings))
    known = {each.name for each in settings}
    known |= {f"{each.name}_FILE" for each in settings if each.is_secret}
    assert environment(case.render(newest_helm)).keys() <= known


def test_every_setting_can_be_set_by_a_value(newest_helm: Helm) -> None:
    reached = {name for case in CASES for name in environment(case.render(newest_helm))}
    missing = {
        each.name
        for each in walk_settings(OperatorSettings)
        if not {each.name, f"{each.name}_FILE"} & reached
    }
    assert missing - LEFT_OUT == set()


def test_the_chart_has_the_defaults_of_the_operator() -> None:
    values = yaml.safe_load((CHARTS / "operator" / "values.yaml").read_text("utf-8"))
    by_name = {each.name: each for each in walk_settings(OperatorSettings)}
    for name, path in DEFAULTS.items():
        value: Any = values
        for part in path.split("."):
            value = value[part]
        default = by_name[name].field.get_default(call_default_factory=True, validated_data={})
        assert value == default, name


def test_what_the_chart_sets_is_understood(
    newest_helm: Helm, monkeypatch: pytest.MonkeyPatch
) -> None:
    for case in CASES:
        with monkeypatch.context() as patch:
            for name, value in environment(case.render(newest_helm)).items():
                if not name.endswith("_FILE"):
                    patch.setenv(name, value)
            patch.setenv("MAILTOPIC_KAFKA__PASSWORD", "hunter22")
            settings = OperatorSettings()
            assert settings.defaults().sender.resources["limits"]["memory"] == "192Mi"


def environment(objects: list[Manifest]) -> dict[str, str]:
    pod = find(objects, "Deployment", "mailtopic-operator")["spec"]["template"]["spec"]
    return {each["name"]: each["value"] for each in pod["containers"][0]["env"]}


def test_by_default_the_operator_has_rights_in_its_own_namespace_only(newest_helm: Helm) -> None:
    objects = newest_helm.template("operator", SERVERS)
    kinds = {each["kind"] for each in objects}
    assert not kinds & {"ClusterRole", "ClusterRoleBinding"}
    assert {each["metadata"]["namespace"] for each in objects if each["kind"] == "Role"} == {"mail"}


def test_every_watched_namespace_has_its_role(newest_helm: Helm) -> None:
    values = SERVERS | {"watch.namespaces": ["shop", "forum"]}
    objects = newest_helm.template("operator", values)
    for kind in ("Role", "RoleBinding"):
        named = [each["metadata"] for each in objects if each["kind"] == kind]
        of_topics = {m["namespace"] for m in named if not m["name"].endswith("-lease")}
        assert of_topics == {"shop", "forum"}
    assert environment(objects)["MAILTOPIC_OPERATOR__WATCH_NAMESPACES"] == "shop,forum"


def test_no_right_is_a_star_and_secrets_are_only_written_for_kafka_users(newest_helm: Helm) -> None:
    for case in CASES:
        objects = list(case.render(newest_helm))
        manages_users = "MAILTOPIC_OPERATOR__KAFKA_USERS__ENABLED" in json.dumps(objects)
        for each in objects:
            for rule in each.get("rules", ()):
                assert "*" not in json.dumps(rule)
                if "secrets" in rule["resources"]:
                    written = [["create", "patch"]] if manages_users else []
                    assert rule["verbs"] in [["get"], *written]


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"watch.allNamespaces": True, "watch.namespaces": ["shop"]}, "watch.namespaces"),
        ({"lease.durationS": 3}, "lease.renewS"),
        ({"kafka.securityProtocol": "SASL_SSL"}, "kafka.existingSecret"),
        (
            {"kafka.securityProtocol": "SASL_SSL", "kafka.existingSecret": "operator-kafka"},
            "sender.kafka.passwordSecret.name",
        ),
        ({"reconcile.batchSize": 0}, "batchSize"),
        ({"watch.namespaces": ["No"]}, "namespaces"),
        ({"unheardOf": 1}, "unheardOf"),
    ],
)
def test_values_that_cannot_work_are_refused_by_name(
    newest_helm: Helm, values: dict[str, Any], word: str
) -> None:
    with pytest.raises(HelmError, match=re.escape(word)):
        newest_helm.template("operator", SERVERS | values)
