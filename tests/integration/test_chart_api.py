"""A real API server takes what charts render to, also where it enforces the restricted standard."""

import json
from collections.abc import Iterator

import pytest

from support.api_server import ApiServer
from support.chart_cases import ChartCase, chart_cases
from support.helm import Helm, Manifest, containers, helm_clients, pod_templates
from support.requirements import require

NAMESPACE = "mail"
# Resources that others define: KEDA, the Prometheus operator, the Gateway API, cert-manager.
FOREIGN = {
    "ScaledObject",
    "TriggerAuthentication",
    "PodMonitor",
    "PrometheusRule",
    "HTTPRoute",
    "Certificate",
}


@pytest.fixture(scope="module")
def helm() -> Helm:
    clients = helm_clients()
    if not clients:
        require("integration", "there is no helm: `make cluster` builds it")
    return clients[-1]


@pytest.fixture(scope="module")
def restricted(api_server: ApiServer) -> Iterator[ApiServer]:
    """The API server with a namespace that takes no pod but restricted ones."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    api_server.apply(
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": NAMESPACE, "labels": labels},
        },
        # There is no controller that makes it.
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "default", "namespace": NAMESPACE},
        },
    )
    yield api_server
    api_server.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.mark.parametrize("case", chart_cases(), ids=str)
def test_the_api_takes_every_object(helm: Helm, restricted: ApiServer, case: ChartCase) -> None:
    # Pods are the next test's: they want their account to be there.
    left_out = FOREIGN | {"Pod"}
    objects = [each for each in case.render(helm) if each["kind"] not in left_out]
    dry_run(restricted, [each for each in objects if is_in_namespace(each)])


@pytest.mark.parametrize("case", chart_cases(), ids=str)
def test_every_pod_is_let_into_a_restricted_namespace(
    helm: Helm, restricted: ApiServer, case: ChartCase
) -> None:
    templates = pod_templates(case.render(helm))
    if templates:
        dry_run(restricted, [pod_of(where, each) for where, each in templates.items()])


def test_a_pod_that_asks_for_nothing_is_not_let_in(restricted: ApiServer) -> None:
    template = {"spec": {"containers": [{"name": "x", "image": "x:1"}]}}
    with pytest.raises(AssertionError, match="violates PodSecurity"):
        dry_run(restricted, [pod_of("Deployment/x", template)])


def is_in_namespace(each: Manifest) -> bool:
    """Whether it lies in the namespace that is there; the operator's charts know others."""
    return bool(each["metadata"].get("namespace", NAMESPACE) == NAMESPACE)


def pod_of(where: str, template: Manifest) -> Manifest:
    """The pod that a template makes, with empty volumes where a StatefulSet has claims."""
    spec = template["spec"] | {"serviceAccountName": "default"}
    volumes = list(spec.get("volumes", []))
    named = {volume["name"] for volume in volumes}
    mounts = [mount for each in containers(template) for mount in each.get("volumeMounts", [])]
    claimed = {mount["name"] for mount in mounts} - named
    spec["volumes"] = [*volumes, *({"name": name, "emptyDir": {}} for name in sorted(claimed))]
    metadata = {"name": where.lower().replace("/", "-"), "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def dry_run(server: ApiServer, manifests: list[Manifest]) -> None:
    document = {"apiVersion": "v1", "kind": "List", "items": manifests}
    arguments = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"]
    server.kubectl(*arguments, stdin=json.dumps(document))
