"""The chart ships the generated rules: as they are, or with an installation's numbers."""

from typing import Any

import pytest
import yaml

from mailtopic_observability.rules import Parameters, files, groups
from support.helm import Helm, HelmError, Manifest

ON = {"monitoring.rules.enabled": True}


def generated(name: str, parameters: Parameters | None = None) -> Any:
    of_all = files(parameters or Parameters())
    return yaml.safe_load(of_all[f"charts/mailtopic/files/rules/{name}.yaml"])


def shipped(helm: Helm, values: dict[str, Any], kind: str = "PrometheusRule") -> list[Manifest]:
    objects = helm.template("mailtopic", ON | values)
    return [
        each for each in objects if each["kind"] == kind and "-rules-" in each["metadata"]["name"]
    ]


def test_there_are_no_rules_unless_asked_for(newest_helm: Helm) -> None:
    values = {"monitoring.rules.enabled": False}
    assert shipped(newest_helm, values) == []
    assert shipped(newest_helm, values, "ConfigMap") == []


def test_a_prometheusrule_holds_what_is_generated_templates_of_annotations_as_well(
    newest_helm: Helm,
) -> None:
    found = {each["metadata"]["name"]: each for each in shipped(newest_helm, {})}
    assert set(found) == {"mailtopic-rules-mailtopic", "mailtopic-rules-kafka"}
    for name in ("mailtopic", "kafka"):
        assert found[f"mailtopic-rules-{name}"]["spec"] == generated(name)
    assert "{{ $labels.topic }}" in str(found)


def test_a_configmap_holds_files_that_prometheus_reads(newest_helm: Helm) -> None:
    found = shipped(newest_helm, {"monitoring.rules.as": "ConfigMap"}, "ConfigMap")
    held = {key: yaml.safe_load(text) for each in found for key, text in each["data"].items()}
    assert held == {
        "mailtopic.yaml": generated("mailtopic"),
        "kafka.yaml": generated("kafka"),
    }


@pytest.mark.parametrize(
    ("objective", "threshold_s", "lag_limit_s"), [(0.999, 10, 30), (0.95, 120, 30), (0.5, 7.5, 1)]
)
def test_your_numbers_stand_where_the_generator_puts_them(
    newest_helm: Helm, objective: float, threshold_s: float, lag_limit_s: int
) -> None:
    values = {
        "monitoring.rules.slo": {"objective": objective, "thresholdS": threshold_s},
        "monitoring.rules.lagLimitS": lag_limit_s,
        "monitoring.rules.outboxLimitS": lag_limit_s + 1,
    }
    found = {each["metadata"]["name"]: each["spec"] for each in shipped(newest_helm, values)}
    parameters = Parameters(objective, threshold_s, lag_limit_s, lag_limit_s + 1)
    assert found["mailtopic-rules-mailtopic"] == generated("mailtopic", parameters)
    assert found["mailtopic-rules-mailtopic"] != generated("mailtopic")


def test_the_values_defaults_are_the_generators(newest_helm: Helm) -> None:
    values = {
        "monitoring.rules.slo": {"objective": 0.99, "thresholdS": 30},
        "monitoring.rules.lagLimitS": 120,
        "monitoring.rules.outboxLimitS": 60,
    }
    assert shipped(newest_helm, values) == shipped(newest_helm, {})


def test_a_threshold_that_is_no_bound_of_a_bucket_is_refused(newest_helm: Helm) -> None:
    with pytest.raises(HelmError, match="thresholdS"):
        shipped(newest_helm, {"monitoring.rules.slo.thresholdS": 20})


def test_alerts_that_are_left_out_are_left_out_and_nothing_else(newest_helm: Helm) -> None:
    disabled = ["MailTopicNoSender", "KafkaBrokerFenced"]
    found = shipped(newest_helm, {"monitoring.rules.disabled": disabled})
    left = [rule for each in found for group in each["spec"]["groups"] for rule in group["rules"]]
    expected = [
        rule.as_dict()
        for group in groups()
        for rule in group.rules
        if getattr(rule, "name", None) not in disabled
    ]
    assert sorted(map(str, map(sorted_items, left))) == sorted(
        map(str, map(sorted_items, expected))
    )


def sorted_items(rule: dict[str, Any]) -> Any:
    return sorted((key, sorted(v.items()) if isinstance(v, dict) else v) for key, v in rule.items())


def test_leaving_out_what_there_is_not_is_refused(newest_helm: Helm) -> None:
    with pytest.raises(HelmError, match="MailTopicLagTooHigh, which is no alert"):
        shipped(newest_helm, {"monitoring.rules.disabled": ["MailTopicLagTooHigh"]})


def test_labels_are_yours_and_runbooks_lead_to_your_copy(newest_helm: Helm) -> None:
    values = {
        "monitoring.rules.labels": {"release": "prometheus"},
        "monitoring.runbooksUrl": "https://wiki.example.com/runbooks/",
    }
    for each in shipped(newest_helm, values):
        assert each["metadata"]["labels"]["release"] == "prometheus"
        links = [
            rule["annotations"]["runbook_url"]
            for group in each["spec"]["groups"]
            for rule in group["rules"]
            if "alert" in rule
        ]
        assert links
        assert all(link.startswith("https://wiki.example.com/runbooks/") for link in links)


def test_kafkas_rules_come_and_go_with_kafka(newest_helm: Helm) -> None:
    values = {"kafka.enabled": False, "global.kafka.bootstrapServers": "kafka:9092"}
    names = [each["metadata"]["name"] for each in shipped(newest_helm, values)]
    assert names == ["mailtopic-rules-mailtopic"]
