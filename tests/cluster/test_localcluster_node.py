"""The node does what the charts' tests lean on: volumes, scaling, limits, exec, port-forward."""

import re
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from localcluster.client import ClusterClient
from localcluster.node_settings import NODE_NAME, NodeSettings
from support.ports import free_port
from support.programs import answers

pytestmark = pytest.mark.usefixtures("one_node")


@pytest.fixture(scope="module")
def namespace(cluster: ClusterClient) -> Iterator[str]:
    with cluster.namespace("node") as name:
        yield name


def pod_spec(image: str, *command: str, **container: Any) -> dict[str, Any]:
    probe = {"name": "probe", "image": image, "command": ["/probe", *command], **container}
    return {"terminationGracePeriodSeconds": 0, "containers": [probe]}


def pod(name: str, namespace: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def test_a_volume_keeps_its_data_for_the_next_pod_and_goes_with_its_claim(
    cluster: ClusterClient, probe_image: str, namespace: str
) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": namespace},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "10Mi"}},
        },
    }
    mounts = [{"name": "data", "mountPath": "/data"}]
    spec = pod_spec(probe_image, "idle", volumeMounts=mounts) | {
        "securityContext": {"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 2000},
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
    }
    cluster.apply(claim, pod("writer", namespace, spec))
    cluster.wait("pod/writer", "condition=Ready", namespace=namespace)
    cluster.execute("writer", "/probe", "write", "/data/letter", "hello", namespace=namespace)
    cluster.kubectl("delete", "pod", "writer", "--namespace", namespace)

    cluster.apply(pod("reader", namespace, spec))
    cluster.wait("pod/reader", "condition=Ready", namespace=namespace)
    assert (
        cluster.execute("reader", "/probe", "read", "/data/letter", namespace=namespace) == "hello"
    )

    volume = cluster.get("pvc/data", namespace=namespace)["spec"]["volumeName"]
    folder = NodeSettings(cluster.settings.state).volumes / volume
    assert (folder / "letter").read_text() == "hello"
    cluster.kubectl("delete", "pod/reader", "pvc/data", "--namespace", namespace)
    cluster.wait(f"pv/{volume}", "delete", namespace=namespace)
    assert not folder.exists()


def test_a_pod_without_fs_group_may_write_to_a_volume_as_root_only(
    cluster: ClusterClient, probe_image: str, namespace: str
) -> None:
    template = {
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    }
    mounts = [{"name": "data", "mountPath": "/data"}]
    spec = pod_spec(probe_image, "write", "/data/letter", "x", volumeMounts=mounts) | {
        "restartPolicy": "Never",
        "securityContext": {"runAsUser": 1000, "runAsGroup": 1000},
        "volumes": [{"name": "data", "ephemeral": {"volumeClaimTemplate": template}}],
    }
    cluster.apply(pod("intruder", namespace, spec))
    cluster.wait("pod/intruder", "jsonpath={.status.phase}=Failed", namespace=namespace)
    log = cluster.kubectl("logs", "intruder", "--namespace", namespace)
    assert "permission denied" in log


def test_a_busy_deployment_is_scaled_up(
    cluster: ClusterClient, probe_image: str, namespace: str, figure: Callable[[str], None]
) -> None:
    labels = {"app": "busy"}
    limits = {"requests": {"cpu": "20m"}, "limits": {"cpu": "100m"}}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "busy", "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": pod_spec(probe_image, "burn", resources=limits),
            },
        },
    }
    target = {"type": "Utilization", "averageUtilization": 100}
    autoscaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "busy", "namespace": namespace},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "busy"},
            "maxReplicas": 2,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        },
    }
    cluster.apply(deployment, autoscaler)

    def usage() -> str:
        return cluster.kubectl("top", "pods", "--no-headers", "--namespace", namespace)

    def ready() -> object:
        found = cluster.get("deployment/busy", namespace=namespace)
        return found["status"].get("readyReplicas")

    cluster.until(lambda: ready() == 2, "two pods are ready", timeout_s=120)
    assert re.search(r"^busy-\S+ +\d+m +\d+Mi", usage(), re.MULTILINE)
    figure(f"usage when it was scaled: {usage().split()[1]}")
    cluster.kubectl("delete", "deployment/busy", "hpa/busy", "--namespace", namespace)


def test_the_usage_of_the_node_is_served(cluster: ClusterClient) -> None:
    assert NODE_NAME in cluster.kubectl("top", "nodes", "--no-headers")


def test_a_container_over_its_memory_limit_is_killed(
    cluster: ClusterClient, probe_image: str, namespace: str
) -> None:
    limit = {"limits": {"memory": "32Mi"}}
    spec = pod_spec(probe_image, "eat", "128", resources=limit) | {"restartPolicy": "Never"}
    cluster.apply(pod("hungry", namespace, spec))
    cluster.wait("pod/hungry", "jsonpath={.status.phase}=Failed", namespace=namespace)
    status = cluster.get("pod/hungry", namespace=namespace)["status"]
    terminated = status["containerStatuses"][0]["state"]["terminated"]
    assert (terminated["reason"], terminated["exitCode"]) == ("OOMKilled", 137)


def test_a_forwarded_port_reaches_the_pod(
    cluster: ClusterClient, probe_image: str, namespace: str
) -> None:
    cluster.apply(pod("web", namespace, pod_spec(probe_image, "serve", "8080")))
    cluster.wait("pod/web", "condition=Ready", namespace=namespace)
    port = free_port()
    kubectl = cluster.settings.bin / "kubectl"
    forwarding = subprocess.Popen(  # noqa: S603 - our own kubectl
        [kubectl, "port-forward", "--namespace", namespace, "pod/web", f"{port}:8080"],
        env=cluster.environment,
        stdout=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}/"
        cluster.until(lambda: answers(url), "the forwarded port answers")
        with urllib.request.urlopen(url, timeout=5) as response:
            assert response.read().decode().strip() == "web"
    finally:
        forwarding.terminate()
        forwarding.wait()
