"""KEDA scales senders by the records that wait, and where Prometheus is named by their age too."""

from typing import Any

from support.helm import Helm, Manifest

KEDA: dict[str, Any] = {
    "kafka.bootstrapServers": "kafka:9092",
    "smtp.host": "relay.example",
    "smtp.username": "somebody",
    "smtp.existingSecret": "login",
    "sealing.enabled": False,
    "from.address": "no-reply@example.com",
    "topic": "codes",
    "autoscaling.enabled": True,
    "autoscaling.provider": "KEDA",
}
PROMETHEUS = "autoscaling.keda.prometheus"
ADDRESS = "http://prometheus.monitoring:9090"


def triggers(helm: Helm, **values: Any) -> list[Manifest]:
    objects = helm.template("sender", KEDA | values)
    (scaled,) = [each for each in objects if each["kind"] == "ScaledObject"]
    found: list[Manifest] = scaled["spec"]["triggers"]
    return found


def test_without_a_prometheus_the_records_that_wait_decide(newest_helm: Helm) -> None:
    (kafka,) = triggers(newest_helm)
    assert (kafka["type"], kafka["metadata"]["lagThreshold"]) == ("kafka", "500")


def test_with_a_prometheus_the_oldest_mail_of_the_main_topic_decides_as_well(
    newest_helm: Helm,
) -> None:
    given = {f"{PROMETHEUS}.serverAddress": ADDRESS, f"{PROMETHEUS}.targetLagSeconds": 20}
    _, seconds = triggers(newest_helm, **given)
    assert seconds == {
        "type": "prometheus",
        "metricType": "Value",
        "metadata": {
            "serverAddress": ADDRESS,
            "query": 'max(mailtopic_lag_seconds{namespace="mail", topic="codes"})',
            "threshold": "20",
        },
    }


def test_the_query_can_be_that_of_a_recording_rule(newest_helm: Helm) -> None:
    query = 'max(mailtopic:lag_seconds:max_by_topic{topic="{{ .Values.topic }}"})'
    given = {f"{PROMETHEUS}.serverAddress": ADDRESS, f"{PROMETHEUS}.query": query}
    _, seconds = triggers(newest_helm, **given)
    assert seconds["metadata"]["query"] == 'max(mailtopic:lag_seconds:max_by_topic{topic="codes"})'
