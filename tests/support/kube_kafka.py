"""A release of the Kafka chart on a real cluster, and pods that write to it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localcluster.client import ClusterClient
from support.kube_release import REPOSITORY, Release

CHART = REPOSITORY / "charts" / "kafka"
_PROGRAM = REPOSITORY / "tests" / "cluster" / "programs" / "kafka_records.py"
_IMAGE = "mailtopic/sender:0.1.0"
_PYTHON = "/app/.venv/bin/python"
_ACCESS = "/etc/mailtopic/kafka"
_STOP_FILE = "/tmp/stop"  # noqa: S108 - in the pod, a volume of its own
_INSTALL_TIMEOUT_S = 240


@dataclass(frozen=True)
class KafkaRelease:
    """The release ``kafka`` in a namespace.

    Attributes:
        values: the name of a file of values in the chart's ci.
        helm: the client: ``helm`` (4) or ``helm3``.
    """

    cluster: ClusterClient
    namespace: str
    values: str
    helm: str = "helm"

    @property
    def release(self) -> Release:
        """The same as any chart's release."""
        return Release(self.cluster, self.namespace, helm=self.helm, chart=CHART, name="kafka")

    @property
    def is_secured(self) -> bool:
        return self.values == "secured"

    def put(self, command: str, *arguments: str) -> None:
        """Install or upgrade, and wait until all nodes are ready."""
        values = f"--values={CHART / 'ci' / f'{self.values}-values.yaml'}"
        waiting = ("--wait", f"--timeout={_INSTALL_TIMEOUT_S}s")
        self.release.run(command, str(CHART), values, *waiting, *arguments)

    def ready_nodes(self) -> set[str]:
        """The names of the pods that are ready."""
        return {
            pod["metadata"]["name"]
            for pod in self.cluster.get("pods", namespace=self.namespace)["items"]
            if "mailtopic.dev/kafka-node" in pod["metadata"]["labels"] and _is_ready(pod)
        }

    def metrics(self, pod: str) -> str:
        """What Prometheus reads from a node, through the API server."""
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod}:9404/proxy/metrics"
        return self.cluster.kubectl("get", "--raw", path)

    def client(
        self, name: str, *arguments: str, user: str = "sender", labelled: bool = True
    ) -> "KafkaClientPod":
        """Start a pod that runs the program, or idles if no arguments are given."""
        pod = KafkaClientPod(self, name, user)
        self.cluster.apply(*_objects(pod, arguments, labelled=labelled), namespace=self.namespace)
        return pod


@dataclass(frozen=True)
class KafkaClientPod:
    """A pod that may write to Kafka as a user, if it has the label for that."""

    kafka: KafkaRelease
    name: str
    user: str

    def run(self, *arguments: str, **environment: str) -> dict[str, Any]:
        """Run the program in the pod; return its last line."""
        told = self.kafka.cluster.execute(
            *(self.name, "/usr/bin/env", *(f"{key}={value}" for key, value in environment.items())),
            *(_PYTHON, "/program/kafka_records.py", *arguments),
            namespace=self.kafka.namespace,
        )
        found: dict[str, Any] = json.loads(told.splitlines()[-1])
        return found

    def wait_until_started(self) -> None:
        self.kafka.cluster.until(
            lambda: any(step["step"] == "started" for step in self._steps()),
            "the client writes",
            timeout_s=120,
        )

    def wait_until_idle(self) -> None:
        """Wait until a pod without arguments takes commands."""
        self.kafka.cluster.wait(
            f"pod/{self.name}", "condition=Ready", namespace=self.kafka.namespace, timeout_s=120
        )

    def end(self) -> dict[str, Any]:
        """Let it write no more; return sent, errors, lost and longest_s."""
        self.kafka.cluster.execute(
            *(self.name, _PYTHON, "-c"),
            f"import pathlib; pathlib.Path({_STOP_FILE!r}).touch()",
            namespace=self.kafka.namespace,
        )
        self.kafka.cluster.until(
            lambda: any(step["step"] == "done" for step in self._steps()),
            "the client has counted",
            timeout_s=180,
        )
        return self._steps()[-1]

    def _steps(self) -> list[dict[str, Any]]:
        text = self.kafka.cluster.kubectl("logs", self.name, "--namespace", self.kafka.namespace)
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def stop_file() -> str:
    """Where a pod's program looks whether it is to end."""
    return _STOP_FILE


def _is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _environment(pod: KafkaClientPod) -> dict[str, str]:
    plain = {"MAILTOPIC_KAFKA__BOOTSTRAP_SERVERS": "kafka:9092"}
    if not pod.kafka.is_secured:
        return plain
    return {
        **plain,
        "MAILTOPIC_KAFKA__SECURITY_PROTOCOL": "SASL_SSL",
        "MAILTOPIC_KAFKA__USERNAME": pod.user,
        "MAILTOPIC_KAFKA__CA_FILE": f"{_ACCESS}/ca.crt",
    }


def _objects(
    pod: KafkaClientPod, arguments: Sequence[str], *, labelled: bool
) -> list[dict[str, Any]]:
    idle = ["-c", "import signal; signal.pause()"]
    env: list[dict[str, Any]] = [
        {"name": key, "value": value} for key, value in _environment(pod).items()
    ]
    volumes: list[dict[str, Any]] = [
        {"name": "program", "configMap": {"name": pod.name}},
        {"name": "tmp", "emptyDir": {}},
    ]
    mounts = [
        {"name": "program", "mountPath": "/program"},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - in the pod
    ]
    if pod.kafka.is_secured:
        secret = {"name": f"kafka-user-{pod.user}", "key": "password"}
        env.append(
            {"name": "MAILTOPIC_KAFKA__PASSWORD", "valueFrom": {"secretKeyRef": secret}},
        )
        trusted = {"secretName": "kafka-ca", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
        volumes.append({"name": "ca", "secret": trusted})
        mounts.append({"name": "ca", "mountPath": _ACCESS})
    container = {
        "name": "client",
        "image": _IMAGE,
        "imagePullPolicy": "Never",
        "command": [_PYTHON, *(["/program/kafka_records.py", *arguments] if arguments else idle)],
        "env": env,
        "volumeMounts": mounts,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "160Mi"}},
    }
    spec = {
        "restartPolicy": "Never",
        "enableServiceLinks": False,
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "fsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": volumes,
    }
    labels = {"mailtopic.dev/kafka-client": "true"} if labelled else {"app": "stranger"}
    program = {"kafka_records.py": Path(_PROGRAM).read_text("utf-8")}
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": pod.name}, "data": program},
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": pod.name, "labels": labels},
            "spec": spec,
        },
    ]
