"""kube-state-metrics shows MailTopics by the configuration that the chart ships."""

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from localcluster.node_settings import cache_folder
from localcluster.toolchain import Toolchain
from mailtopic_cli.children import Child
from support.api_server import ApiServer
from support.conditions import until
from support.helm import CHARTS
from support.mailtopic_world import spec
from support.ports import free_ports

# It builds kube-state-metrics, which takes minutes.
pytestmark = [pytest.mark.guarantees, pytest.mark.timeout(900, func_only=True)]

SHIPPED = CHARTS / "mailtopic" / "files" / "kube-state-metrics.yaml"
NAMESPACE = "shown"
SCALING = {"autoscaling": {"provider": "KEDA"}}
STATUS: dict[str, Any] = {
    "observedGeneration": 1,
    "topic": {"name": "codes", "id": "A" * 22, "partitions": 6, "replicationFactor": 3},
    "consumers": {"replicas": 3, "readyReplicas": 2, "ready": "2/3"},
    "lag": {"records": 17, "seconds": 4, "sampledAt": "2026-11-25T12:00:00Z"},
    "deadLetter": {"records": 5},
    "conditions": [
        {
            "type": kind,
            "status": status,
            "observedGeneration": 1,
            "reason": reason,
            "message": "for a test",
            "lastTransitionTime": "2026-11-25T12:00:00Z",
        }
        for kind, status, reason in (
            ("Ready", "False", "RollingOut"),
            ("TopicsReady", "True", "AsSpecified"),
        )
    ],
}


def shipped() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(SHIPPED.read_text("utf-8"))
    return found


@pytest.fixture(scope="module")
def program() -> Path:
    toolchain = Toolchain(cache_folder(), print)
    toolchain.ensure("kube-state-metrics")
    return toolchain.program("kube-state-metrics")


@pytest.fixture
async def url(program: Path, api_server: ApiServer, tmp_path: Path) -> AsyncIterator[str]:
    """A kube-state-metrics that may do what the shipped rules allow, and find CRDs."""
    rules = [
        *shipped()["rbac"]["extraRules"],
        {
            "apiGroups": ["apiextensions.k8s.io"],
            "resources": ["customresourcedefinitions"],
            "verbs": ["list", "watch"],
        },
    ]
    role = {"kind": "ClusterRole", "metadata": {"name": "ksm"}, "rules": rules}
    binding = {
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "ksm"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "ksm"},
        "subjects": [{"kind": "User", "name": "ksm"}],
    }
    for manifest in (role, binding):
        apply(api_server, {"apiVersion": "rbac.authorization.k8s.io/v1", **manifest})
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(shipped()["customResourceState"]["config"]))
    port, telemetry_port = free_ports(2)
    command = [
        str(program),
        f"--kubeconfig={api_server.kubeconfig_of('ksm')}",
        "--custom-resource-state-only=true",
        f"--custom-resource-state-config-file={config}",
        "--host=127.0.0.1",
        "--telemetry-host=127.0.0.1",
        f"--port={port}",
        f"--telemetry-port={telemetry_port}",
    ]
    log = tmp_path / "ksm.log"
    child = Child(command, log_file=log, env={"PATH": os.environ["PATH"]}, cwd=tmp_path)
    yield f"http://127.0.0.1:{port}/metrics"
    await child.kill()


def apply(server: ApiServer, manifest: dict[str, Any]) -> None:
    server.kubectl("apply", "--filename=-", stdin=json.dumps(manifest))


async def shown(url: str) -> dict[str, dict[str, float]]:
    """The values of each metric by the labels beyond those of the resource."""
    async with httpx.AsyncClient() as client:
        try:
            text = (await client.get(url)).text
        except httpx.TransportError:
            return {}
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = {k: v for k, v in sample.labels.items() if not k.startswith("customresource_")}
            if labels.pop("namespace", "") == NAMESPACE and labels.pop("name") == "codes":
                told = ",".join(f"{name}={value}" for name, value in sorted(labels.items()))
                found.setdefault(sample.name, {})[told] = sample.value
    return found


async def test_a_mailtopic_is_shown_with_its_conditions_lag_and_dead_letters(
    api_server: ApiServer, url: str
) -> None:
    api_server.kubectl("create", "namespace", NAMESPACE)
    about: dict[str, Any] = {"apiVersion": "mailtopic.dev/v1alpha1", "kind": "MailTopic"}
    about |= {"metadata": {"namespace": NAMESPACE, "name": "codes"}}
    apply(api_server, {**about, "spec": spec(consumers=SCALING)})
    patch = json.dumps({"status": STATUS})
    api_server.kubectl(
        "patch",
        "mailtopic/codes",
        f"--namespace={NAMESPACE}",
        "--subresource=status",
        "--type=merge",
        f"--patch={patch}",
    )

    async def is_shown() -> bool:
        return "mailtopic_resource_dead_letters" in await shown(url)

    await until(is_shown, "the MailTopic is shown", timeout_s=90)
    found = await shown(url)
    assert found["mailtopic_resource_condition"] == {
        "reason=RollingOut,status=False,type=Ready": 1,
        "reason=AsSpecified,status=True,type=TopicsReady": 1,
    }
    values = {name: value[""] for name, value in found.items() if "" in value}
    assert values == {
        "mailtopic_resource_generation": 1,
        "mailtopic_resource_observed_generation": 1,
        "mailtopic_resource_senders": 3,
        "mailtopic_resource_senders_ready": 2,
        "mailtopic_resource_partitions": 6,
        "mailtopic_resource_lag_records": 17,
        "mailtopic_resource_lag_seconds": 4,
        "mailtopic_resource_dead_letters": 5,
    }
    assert found["mailtopic_resource_info"] == {"provider=KEDA,topic=codes": 1}
