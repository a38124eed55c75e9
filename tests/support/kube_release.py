"""A release of the umbrella chart on a real cluster, and users that sign up in it."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from localcluster.client import ClusterClient
from mailtopic_cli.cluster.errors import ClientError

REPOSITORY = Path(__file__).parents[2]
CHART = REPOSITORY / "charts" / "mailtopic"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
_LOAD_PROGRAM = REPOSITORY / "tests" / "cluster" / "programs" / "sign_up_many.py"
_STOP_FILE = "/tmp/stop"  # noqa: S108 - in the pod, a volume of its own
_IMAGE = "mailtopic/signup:0.1.0"
_INSTALL_TIMEOUT_S = 240


@dataclass(frozen=True)
class Release:
    """One release of a chart in a namespace.

    Attributes:
        helm: the client: ``helm`` (4) or ``helm3``.
        chart: the chart's folder.
    """

    cluster: ClusterClient
    namespace: str
    helm: str = "helm"
    chart: Path = CHART
    name: str = "mailtopic"

    def run(self, command: str, *arguments: str, timeout_s: float = _INSTALL_TIMEOUT_S) -> str:
        """Run a command of Helm's on this release; return what it printed."""
        client = self.cluster.helm if self.helm == "helm" else self.cluster.helm3
        return client(
            command, self.name, *arguments, "--namespace", self.namespace, timeout_s=timeout_s + 30
        )

    def put(self, command: str, *arguments: str, files: tuple[str, ...] = ("local",)) -> str:
        """Install or upgrade, with values files of charts/mailtopic/ci, and wait."""
        values = [f"--values={CHART / 'ci' / f'{file}-values.yaml'}" for file in files]
        waiting = ("--wait", f"--timeout={_INSTALL_TIMEOUT_S}s")
        try:
            return self.run(command, str(self.chart), *values, *waiting, *arguments)
        except ClientError as error:
            raise AssertionError(f"{error}\n{self.diagnosis()}") from None

    def diagnosis(self) -> str:
        """What to look at first when pods don't become ready."""
        looks = [
            ("get", "pods", "--output=wide"),
            ("get", "events", "--field-selector=type=Warning", "--sort-by=.lastTimestamp"),
        ]
        looks += [
            ("logs", pod["metadata"]["name"], "--all-containers", "--tail=15")
            for pod in self.cluster.get("pods", namespace=self.namespace)["items"]
        ]
        kubectl = str(self.cluster.settings.bin / "kubectl")
        return "\n".join(
            self.cluster.run(kubectl, *look, "--namespace", self.namespace, check=False).stdout
            for look in looks
        )

    def pods(self) -> list[dict[str, Any]]:
        """The pods of the release that run."""
        found = self.cluster.get("pods", namespace=self.namespace)["items"]
        return [pod for pod in found if pod["status"].get("phase") == "Running"]

    def pod_names(self, chart: str) -> list[str]:
        """The names of the pods of a component that run, by the name of its chart."""
        label = "app.kubernetes.io/name"
        return [
            pod["metadata"]["name"]
            for pod in self.pods()
            if pod["metadata"]["labels"].get(label) == chart
        ]

    def crash(self, pod: str) -> None:
        """End a pod's processes with SIGKILL, as the kernel would; delete it where we can't."""
        uid = self.cluster.get(f"pod/{pod}", namespace=self.namespace)["metadata"]["uid"]
        if not _kill_processes_of(uid):
            self.delete(pod)

    def delete(self, pod: str) -> None:
        """Delete a pod, if it is still there, without letting it end in order."""
        self.cluster.kubectl(
            *("delete", "pod", pod, "--namespace", self.namespace),
            *("--force", "--grace-period=0", "--wait=false", "--ignore-not-found"),
        )

    def lives(self, chart: str) -> set[tuple[str, int]]:
        """The lives of a component's containers: a pod's uid, and how often it began again."""
        found = self.cluster.get("pods", namespace=self.namespace)["items"]
        return {
            (pod["metadata"]["uid"], status["restartCount"])
            for pod in found
            if pod["metadata"]["labels"].get("app.kubernetes.io/name") == chart
            for status in pod["status"].get("containerStatuses", [])
        }

    def survive(self, chart: str, end: Callable[["Release", str], None]) -> None:
        """End one pod of a component, see that it ended, and wait until all are ready again."""
        before = self.lives(chart)
        end(self, min(self.pod_names(chart)))
        self.cluster.until(lambda: before - self.lives(chart), f"a pod of {chart} has ended")
        self.wait_until_ready()

    def wait_until_ready(self, *, timeout_s: float = 180) -> None:
        """Wait until every Deployment and StatefulSet has all its pods ready."""
        found = self.cluster.get("deployments,statefulsets", namespace=self.namespace)["items"]
        for each in found:
            what = f"{each['kind'].lower()}/{each['metadata']['name']}"
            self.cluster.rollout(what, namespace=self.namespace, timeout_s=timeout_s)

    @contextmanager
    def forwarded(self, service: str, port: int) -> Iterator[str]:
        """A service's URL on this machine, by ``kubectl port-forward``."""
        command = [
            *(str(self.cluster.settings.bin / "kubectl"), "port-forward"),
            *("--namespace", self.namespace, f"service/{service}", f":{port}"),
        ]
        process = subprocess.Popen(  # noqa: S603 - the cluster's own kubectl
            command, env=self.cluster.environment, stdout=subprocess.PIPE, text=True
        )
        try:
            assert process.stdout is not None
            found = re.search(r"127\.0\.0\.1:(\d+)", process.stdout.readline())
            assert found is not None, "kubectl port-forward did not say where it listens"
            yield f"http://127.0.0.1:{found[1]}"
        finally:
            process.terminate()
            process.wait(30)
            if process.stdout is not None:
                process.stdout.close()

    def sign_up_and_verify(self, address: str) -> None:
        """Sign up over HTTP from this machine, read the mail in the inbox, enter the code."""
        with (
            self.forwarded(f"{self.name}-signup", 8080) as signup,
            self.forwarded(f"{self.name}-inbox", 8025) as inbox,
            httpx.Client(timeout=30) as http,
        ):
            answer = http.post(f"{signup}/v1/signups", json={"email": address, "locale": "en"})
            assert answer.status_code == 202, answer.text
            code = self._code(http, inbox, address)
            challenge = answer.json()["challenge_id"]
            verified = http.post(f"{signup}/v1/signups/{challenge}/verify", json={"code": code})
            assert verified.json()["state"] == "verified"

    def _code(self, http: httpx.Client, inbox: str, address: str) -> str:
        found: list[str] = []

        def has_come() -> bool:
            mails = http.get(f"{inbox}/api/v1/messages").json()["messages"]
            found.extend(mail["ID"] for mail in mails if mail["To"][0]["Address"] == address)
            return bool(found)

        self.cluster.until(has_come, "the mail is in the inbox", timeout_s=30)
        text = http.get(f"{inbox}/api/v1/message/{found[0]}").json()["Text"]
        (code,) = re.findall(r"\b[0-9]{6}\b", text)
        return str(code)

    def load(
        self,
        name: str,
        *,
        rate_per_s: float,
        clients: int = 8,
        node_selector: Mapping[str, str] | None = None,
    ) -> "Load":
        """Start a pod that signs users up until it is stopped, then counts their mails."""
        config, pod = _load_objects(self.name, name, rate_per_s, clients)
        pod["spec"]["nodeSelector"] = dict(node_selector or {})
        self.cluster.apply(config, pod, namespace=self.namespace)
        return Load(self, name)


@dataclass(frozen=True)
class Load:
    """Users that sign up, in a separate pod."""

    release: Release
    name: str

    def wait_until_started(self) -> None:
        """Wait until the first ones sign up."""
        self.release.cluster.until(
            lambda: any(step["step"] == "started" for step in self._steps()),
            "the load has started",
        )

    def end(self, *, timeout_s: float = 300) -> dict[str, Any]:
        """Stop signing up; return asked, accepted, lost, twice, answers, and pauses.

        Raises:
            AssertionError: it had ended by itself, so its figures are incomplete.
        """
        steps = [step["step"] for step in self._steps()]
        assert steps == ["started"], f"people were to sign up all the time, but: {steps}"
        self.release.cluster.execute(
            *(self.name, "/app/.venv/bin/python", "-c"),
            f"import pathlib; pathlib.Path({_STOP_FILE!r}).touch()",
            namespace=self.release.namespace,
        )
        self.release.cluster.until(
            lambda: any(step["step"] == "done" for step in self._steps()),
            "the load has ended",
            timeout_s=timeout_s,
        )
        return self._steps()[-1]

    def _steps(self) -> list[dict[str, Any]]:
        text = self.release.cluster.kubectl(
            "logs", self.name, "--namespace", self.release.namespace
        )
        return [json.loads(line) for line in text.splitlines()]


def _kill_processes_of(pod_uid: str) -> int:
    killed = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            is_of_pod = pod_uid in (folder / "cgroup").read_text()
            is_pause = (folder / "comm").read_text().strip() == "pause"
            if is_of_pod and not is_pause:
                os.kill(int(folder.name), signal.SIGKILL)
                killed += 1
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked
    return killed


def _load_objects(release: str, name: str, rate_per_s: float, clients: int) -> list[dict[str, Any]]:
    environment = {
        "SIGNUP_URL": f"http://{release}-signup:8080",
        "INBOX_URL": f"http://{release}-inbox:8025",
        "PREFIX": name,
        "MOST": "20000",
        "STOP_FILE": _STOP_FILE,
        "CLIENTS": str(clients),
        "RATE_PER_S": str(rate_per_s),
        "DELIVERY_TIMEOUT_S": "240",
    }
    container = {
        "name": "load",
        "image": _IMAGE,
        "imagePullPolicy": "Never",
        "command": ["/app/.venv/bin/python", "/program/sign_up_many.py"],
        "env": [{"name": key, "value": value} for key, value in environment.items()],
        "volumeMounts": [
            {"name": "program", "mountPath": "/program"},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - in the pod
        ],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "resources": {"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"memory": "96Mi"}},
    }
    spec = {
        "restartPolicy": "Never",
        "enableServiceLinks": False,
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [
            {"name": "program", "configMap": {"name": name}},
            {"name": "tmp", "emptyDir": {}},
        ],
    }
    labels = {"mailtopic.dev/inbox-client": "true"}
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name},
            "data": {"sign_up_many.py": _LOAD_PROGRAM.read_text()},
        },
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": labels},
            "spec": spec,
        },
    ]
