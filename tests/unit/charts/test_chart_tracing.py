"""Tracing in the charts: nothing by default, and the collector is reached where it is asked for."""

from typing import Any

import pytest

from support.helm import Helm

SERVICES = ("signup", "sender")


def parts(helm: Helm, service: str, endpoint: str) -> tuple[dict[str, str], list[Any]]:
    """A service's settings, and the egress rules of its pods."""
    objects = helm.template("mailtopic", {f"{service}.tracing.endpoint": endpoint})
    (workload,) = [
        each
        for each in objects
        if each["kind"] in {"Deployment", "StatefulSet"}
        and each["metadata"]["name"].endswith(service)
    ]
    (policy,) = [
        each
        for each in objects
        if each["kind"] == "NetworkPolicy" and each["metadata"]["name"].endswith(service)
    ]
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    named = {each["name"]: each.get("value", "") for each in container["env"]}
    return named, policy["spec"]["egress"]


@pytest.mark.parametrize("service", SERVICES)
def test_without_an_endpoint_nothing_is_set_and_nothing_opened(
    newest_helm: Helm, service: str
) -> None:
    named, egress = parts(newest_helm, service, "")
    assert not [name for name in named if "TRACING" in name]
    assert {"port": 4318, "protocol": "TCP"} not in [p for rule in egress for p in rule["ports"]]


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize(
    ("endpoint", "port"),
    [
        ("http://otel-collector.observability:4318", 4318),
        ("https://[2001:db8::1]:14318/v1/traces", 14318),
        ("https://otlp.example.com/otlp", 443),
        ("http://collector", 80),
    ],
)
def test_the_collectors_port_is_open(
    newest_helm: Helm, service: str, endpoint: str, port: int
) -> None:
    named, egress = parts(newest_helm, service, endpoint)
    assert named["MAILTOPIC_TRACING__ENDPOINT"] == endpoint
    assert named["MAILTOPIC_TRACING__SAMPLE_RATIO"] == "0.1"
    assert {"ports": [{"port": port, "protocol": "TCP"}]} in egress
