"""Prometheus finds every pod, by annotations or by PodMonitors, and each pod once."""

from collections.abc import Iterator
from typing import Any

import pytest

from mailtopic_operator.domain.children import wanted_children
from mailtopic_operator.domain.observed import Observed
from support.helm import Helm, Manifest
from support.mailtopic_world import World

ALL = {"operator.enabled": True, "kafka.controllers.replicaCount": 3}
COMPONENTS = ("signup", "sender", "operator", "kafka")
MONITORS = {f"{name}.monitor.podMonitor.enabled": True for name in COMPONENTS}
JOBS = {"signup", "sender", "operator", "broker", "controller"}


def workloads(objects: list[Manifest]) -> Iterator[Manifest]:
    """The templates of pods that have something to measure: not the inbox's."""
    for each in objects:
        if each["kind"] in {"Deployment", "StatefulSet"}:
            template = each["spec"]["template"]
            if component(template) != "inbox":
                yield template


def annotations(template: Manifest) -> dict[str, str]:
    found = template["metadata"].get("annotations", {})
    return {key: value for key, value in found.items() if key.startswith("prometheus.io/")}


def ports(template: Manifest) -> dict[str, int]:
    return {
        port["name"]: port["containerPort"]
        for container in template["spec"]["containers"]
        for port in container.get("ports", ())
    }


def selects(monitor: Manifest, template: Manifest) -> bool:
    wanted: dict[str, str] = monitor["spec"]["selector"]["matchLabels"]
    labels: dict[str, str] = template["metadata"]["labels"]
    return wanted.items() <= labels.items()


def component(template: Manifest) -> str:
    return str(template["metadata"]["labels"]["app.kubernetes.io/component"])


def test_annotations_name_a_port_that_the_pod_has(newest_helm: Helm) -> None:
    found = {component(each): each for each in workloads(newest_helm.template("mailtopic", ALL))}
    assert found.keys() == JOBS
    for template in found.values():
        said = annotations(template)
        assert (said["prometheus.io/scrape"], said["prometheus.io/path"]) == ("true", "/metrics")
        assert int(said["prometheus.io/port"]) in ports(template).values()


@pytest.mark.parametrize("chart", COMPONENTS)
def test_annotations_can_be_left_out(newest_helm: Helm, chart: str) -> None:
    values = ALL | {f"{chart}.monitor.annotations": False}
    without = {
        component(each)
        for each in workloads(newest_helm.template("mailtopic", values))
        if not annotations(each)
    }
    assert without == ({"broker", "controller"} if chart == "kafka" else {chart})


def test_each_pod_is_found_by_one_podmonitor_under_its_component(newest_helm: Helm) -> None:
    objects = newest_helm.template("mailtopic", ALL | MONITORS)
    monitors = [each for each in objects if each["kind"] == "PodMonitor"]
    for template in (*workloads(objects), pod_of_a_mailtopic()):
        (monitor,) = [each for each in monitors if selects(each, template)]
        assert monitor["spec"]["jobLabel"] == "app.kubernetes.io/component"
        assert component(template) in JOBS
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        assert endpoint["port"] in ports(template)


@pytest.mark.parametrize(
    ("watched", "where"),
    [
        ({}, {"matchNames": ["mail"]}),
        ({"watch.namespaces": ["a", "b"]}, {"matchNames": ["a", "b"]}),
        ({"watch.allNamespaces": True}, {"any": True}),
    ],
)
def test_senders_of_mailtopics_are_looked_for_where_the_operator_makes_them(
    newest_helm: Helm, watched: dict[str, Any], where: dict[str, Any]
) -> None:
    values = watched | {"monitor.podMonitor.enabled": True, "kafka.bootstrapServers": "k:9092"}
    objects = newest_helm.template("operator", values)
    (monitor,) = [
        each
        for each in objects
        if each["kind"] == "PodMonitor" and selects(each, pod_of_a_mailtopic())
    ]
    assert monitor["spec"]["namespaceSelector"] == where


def pod_of_a_mailtopic() -> Manifest:
    """The template of the pods that the operator makes."""
    children = wanted_children(World().desired, Observed(topics={}))
    (deployment,) = [child for child in children if child["kind"] == "Deployment"]
    template: Manifest = deployment["spec"]["template"]
    return template
