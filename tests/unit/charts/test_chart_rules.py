"""What holds for every object of every chart, with all values of CI."""

import base64
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from mailtopic_operator.domain.children import wanted_children
from mailtopic_operator.domain.observed import Observed
from support.chart_cases import ChartCase, chart_cases
from support.helm import Helm, Manifest, containers, find, pod_templates
from support.mailtopic_world import World

CASES = chart_cases()
CLUSTER_WIDE = {
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "PriorityClass",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
}
# The operator may look after other namespaces than its own.
RIGHTS = {"Role", "RoleBinding"}
LABELS = {
    "app.kubernetes.io/name",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/version",
    "app.kubernetes.io/component",
    "app.kubernetes.io/part-of",
    "app.kubernetes.io/managed-by",
    "helm.sh/chart",
}
SELECTORS = {"app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component"}
SERVERS = {"Deployment", "StatefulSet", "DaemonSet"}


@pytest.fixture(params=CASES, ids=str)
def objects(request: pytest.FixtureRequest, newest_helm: Helm) -> list[Manifest]:
    case: ChartCase = request.param
    return case.render(newest_helm)


def test_every_object_has_its_namespace_and_labels(objects: list[Manifest]) -> None:
    for each in objects:
        where = name_of(each)
        labels = each["metadata"].get("labels", {})
        assert set(labels) >= LABELS, where
        assert labels["app.kubernetes.io/part-of"] == "mailtopic", where
        if each["kind"] not in CLUSTER_WIDE | RIGHTS:
            assert each["metadata"].get("namespace") == "mail", where


def test_no_object_stands_twice(objects: list[Manifest]) -> None:
    names = [
        (each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"])
        for each in objects
    ]
    assert len(names) == len(set(names))


def test_nothing_is_null(objects: list[Manifest]) -> None:
    for each in objects:
        assert list(nulls(each)) == [], name_of(each)


def test_every_pod_keeps_to_the_restricted_standard(objects: list[Manifest]) -> None:
    for where, template in pod_templates(objects).items():
        spec = template["spec"]
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True, where
        assert security["runAsUser"] > 0, where
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, where
        assert not spec.keys() & {"hostNetwork", "hostPID", "hostIPC"}, where
        assert not any("hostPath" in volume for volume in spec.get("volumes", [])), where
        for container in containers(template):
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False, (where, container["name"])
            assert own["readOnlyRootFilesystem"] is True, (where, container["name"])
            assert own["capabilities"] == {"drop": ["ALL"]}, (where, container["name"])


def test_every_container_asks_for_what_it_needs_and_no_more(objects: list[Manifest]) -> None:
    for where, template in pod_templates(objects).items():
        for container in containers(template):
            resources = container["resources"]
            assert resources["requests"].keys() >= {"cpu", "memory"}, (where, container["name"])
            assert "memory" in resources["limits"], (where, container["name"])


def test_no_pod_gets_a_token_or_the_environment_of_services(objects: list[Manifest]) -> None:
    for where, template in pod_templates(objects).items():
        assert template["spec"]["automountServiceAccountToken"] is False, where
        assert template["spec"]["enableServiceLinks"] is False, where


def test_every_server_is_probed(objects: list[Manifest]) -> None:
    for where, template in pod_templates(objects).items():
        if where.split("/")[0] in SERVERS:
            for container in template["spec"]["containers"]:
                probes = {"startupProbe", "readinessProbe", "livenessProbe"}
                assert container.keys() >= probes, (where, container["name"])


def test_every_image_is_pinned(objects: list[Manifest]) -> None:
    for where, template in pod_templates(objects).items():
        for container in containers(template):
            assert re.search(r"(:v?\d[\w.-]*|@sha256:[0-9a-f]{64})$", container["image"]), where
            assert container["imagePullPolicy"], where


def test_no_environment_variable_is_set_twice(objects: list[Manifest]) -> None:
    for where, template in pod_templates(objects).items():
        for container in containers(template):
            names = [each["name"] for each in container.get("env", [])]
            assert len(names) == len(set(names)), (where, container["name"])


def test_what_is_mounted_is_there(objects: list[Manifest]) -> None:
    claims = {
        claim["metadata"]["name"]
        for each in objects
        for claim in each.get("spec", {}).get("volumeClaimTemplates", [])
    }
    for where, template in pod_templates(objects).items():
        volumes = {volume["name"] for volume in template["spec"].get("volumes", [])} | claims
        for container in containers(template):
            paths = [mount["mountPath"] for mount in container.get("volumeMounts", [])]
            assert len(paths) == len(set(paths)), where
            assert {m["name"] for m in container.get("volumeMounts", [])} <= volumes, where


def test_selectors_are_the_labels_that_never_change(objects: list[Manifest]) -> None:
    for each in objects:
        if each["kind"] in SERVERS:
            selected = each["spec"]["selector"]["matchLabels"]
            assert set(selected) == SELECTORS, name_of(each)
            labels = each["spec"]["template"]["metadata"]["labels"]
            assert selected.items() <= labels.items(), name_of(each)


def test_services_and_policies_select_pods_that_are_there(objects: list[Manifest]) -> None:
    pods = [template["metadata"].get("labels", {}) for template in pod_templates(objects).values()]
    # What an operator makes is there as well, though no chart has it.
    pods.append(labels_of_senders())
    for each in objects:
        selected = {
            "Service": lambda spec: spec["selector"],
            "NetworkPolicy": lambda spec: spec["podSelector"]["matchLabels"],
            "PodDisruptionBudget": lambda spec: spec["selector"]["matchLabels"],
            "PodMonitor": lambda spec: spec["selector"]["matchLabels"],
        }.get(each["kind"])
        if selected:
            wanted = selected(each["spec"])
            assert any(wanted.items() <= labels.items() for labels in pods), name_of(each)


def labels_of_senders() -> dict[str, str]:
    children = wanted_children(World().desired, Observed(topics={}))
    senders = next(child for child in children if child["kind"] == "Deployment")
    return dict(senders["spec"]["template"]["metadata"]["labels"])


def test_deployments_say_how_they_are_replaced(objects: list[Manifest]) -> None:
    for each in objects:
        if each["kind"] == "Deployment":
            strategy = each["spec"]["strategy"]
            is_whole = strategy["type"] == "Recreate" or set(strategy["rollingUpdate"]) == {
                "maxSurge",
                "maxUnavailable",
            }
            assert is_whole, name_of(each)


def test_what_is_scaled_automatically_has_no_number_of_its_own(objects: list[Manifest]) -> None:
    for each in objects:
        if each["kind"] in {"HorizontalPodAutoscaler", "ScaledObject"}:
            target = each["spec"]["scaleTargetRef"]
            scaled = find(objects, target.get("kind", "Deployment"), target["name"])
            assert "replicas" not in scaled["spec"], name_of(each)


def test_no_secret_value_stands_outside_of_secrets(objects: list[Manifest]) -> None:
    secrets = [each for each in objects if each["kind"] == "Secret"]
    values = {value for each in secrets for value in secret_values(each) if len(value) >= 8}
    public = json.dumps([each for each in objects if each["kind"] != "Secret"])
    assert [value for value in values if json.dumps(value)[1:-1] in public] == []


def test_pods_roll_when_what_the_chart_mounts_changes(objects: list[Manifest]) -> None:
    maps = {each["metadata"]["name"] for each in objects if each["kind"] == "ConfigMap"}
    for where, template in pod_templates(objects).items():
        if where.split("/")[0] in SERVERS and mounted_maps(template) & maps:
            annotations = template["metadata"].get("annotations", {})
            assert any(name.startswith("checksum/") for name in annotations), where


def name_of(each: Manifest) -> str:
    return f"{each['kind']}/{each['metadata']['name']}"


def nulls(value: Any, path: str = "") -> Iterator[str]:
    if value is None:
        yield path
    elif isinstance(value, dict):
        for key, below in value.items():
            yield from nulls(below, f"{path}.{key}")
    elif isinstance(value, list):
        for number, below in enumerate(value):
            yield from nulls(below, f"{path}[{number}]")


def secret_values(secret: Manifest) -> Iterator[str]:
    for key, value in secret.get("data", {}).items():
        # What an authority is called and signed is no secret.
        if not key.endswith(".crt"):
            yield base64.b64decode(value).decode()
    yield from secret.get("stringData", {}).values()


def mounted_maps(template: Manifest) -> set[str]:
    found = set()
    for volume in template["spec"].get("volumes", []):
        sources = [volume, *volume.get("projected", {}).get("sources", [])]
        found |= {source["configMap"]["name"] for source in sources if "configMap" in source}
    return found
