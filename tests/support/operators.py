"""Operator processes on an API server and a broker that a test owns."""

import json
import os
import signal
import sys
import urllib.request
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mailtopic_cli.children import Child, resident_mb
from support.api_server import ROOT, ApiServer
from support.conditions import until
from support.ports import free_port

CRDS = ROOT / "k8s" / "base" / "crds"
Json = dict[str, Any]


def install_crds(server: ApiServer) -> None:
    """Apply the CRDs and wait until they are served."""
    server.kubectl("apply", "--server-side", "-k", str(CRDS))
    server.serves_crds("mailtopics.mailtopic.dev", "mailreplays.mailtopic.dev")


def mail_topic(name: str, namespace: str, **spec: Any) -> Json:
    """A MailTopic without anything that has to be there beside it."""
    relay = {"name": "main", "host": "relay.example.test", "port": 587, "security": "StartTLS"}
    return {
        "apiVersion": "mailtopic.dev/v1alpha1",
        "kind": "MailTopic",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "topic": {"partitions": 3},
            "from": {"address": "noreply@example.test"},
            "relays": [relay],
            "consumers": {"replicas": 0},
            **spec,
        },
    }


class OperatorProcess:
    """One replica, as its users run it."""

    def __init__(self, directory: Path, environment: Mapping[str, str], program: str) -> None:
        self.port = free_port()
        self.log_file = directory / "operator.log"
        directory.mkdir(parents=True, exist_ok=True)
        self._child = Child(
            [sys.executable, "-m", program],
            log_file=self.log_file,
            env={**environment, "MAILTOPIC_METRICS__PORT": str(self.port)},
            cwd=directory,
        )

    @property
    def exit_code(self) -> int | None:
        return self._child.exit_code

    @property
    def resident_mb(self) -> float:
        return resident_mb(self._child.pid) or 0.0

    @property
    def lines(self) -> list[Json]:
        """Return what it has logged."""
        lines = self.log_file.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def probe(self, path: str) -> tuple[int, str]:
        """Query a probe; 0: no answer."""
        try:
            url = f"http://127.0.0.1:{self.port}{path}"
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples that carry these labels."""
        total = 0.0
        for line in self.probe("/metrics")[1].splitlines():
            sample, _, value = line.rpartition(" ")
            if sample.partition("{")[0] == name and all(
                f'{key}="{wanted}"' in sample for key, wanted in labels.items()
            ):
                total += float(value)
        return total

    async def wait(self) -> int:
        return await self._child.wait()

    def freeze(self) -> None:
        os.kill(self._child.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self._child.pid, signal.SIGCONT)

    async def kill(self) -> None:
        await self._child.kill()

    async def stop(self) -> int:
        return await self._child.end(grace_s=20)

    async def leads(self) -> None:
        """Return when it leads and has read everything."""

        def is_leading() -> bool:
            if self.exit_code is not None:
                text = self.log_file.read_text()[-3000:]
                raise AssertionError(f"the operator ended with {self.exit_code}: {text}")
            return self.metric("mailtopic_operator_is_leader") == 1

        await until(is_leading, "the operator leads")


class Operators:
    """Starts replicas that share one API server, one Kafka and one namespace."""

    def __init__(self, directory: Path, server: ApiServer, servers: str) -> None:
        self._directory = directory
        self.server = server
        self.servers = servers
        self.namespace = f"mail-{uuid.uuid4().hex[:8]}"
        self.settings: dict[str, str] = {}
        self.replicas: list[OperatorProcess] = []
        self.server.kubectl("create", "namespace", self.namespace)

    def start(
        self,
        *,
        program: str = "mailtopic_operator",
        kubeconfig: Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> OperatorProcess:
        """Start a replica; settings without MAILTOPIC_OPERATOR__, in lower case."""
        own = {f"MAILTOPIC_OPERATOR__{k.upper()}": v for k, v in (settings or {}).items()}
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self._directory),
            "PYTHONPATH": str(ROOT / "tests"),
            "KUBECONFIG": str(kubeconfig or self.server.kubeconfig),
            "MAILTOPIC_KAFKA__BOOTSTRAP_SERVERS": self.servers,
            "MAILTOPIC_KAFKA__REQUEST_TIMEOUT_S": "3",
            "MAILTOPIC_OPERATOR__WATCH_NAMESPACES": self.namespace,
            "MAILTOPIC_OPERATOR__LEASE__NAMESPACE": self.namespace,
            "MAILTOPIC_OPERATOR__LEASE__DURATION_S": "3",
            "MAILTOPIC_OPERATOR__LEASE__RENEW_S": "0.5",
            "MAILTOPIC_OPERATOR__RECONCILE__LINGER_S": "0.05",
            **self.settings,
            **own,
        }
        directory = self._directory / f"operator-{len(self.replicas)}"
        replica = OperatorProcess(directory, environment, program)
        self.replicas.append(replica)
        return replica

    async def started(self, **settings: str) -> OperatorProcess:
        """Start a replica and wait until it leads."""
        replica = self.start(settings=settings)
        await replica.leads()
        return replica

    @property
    def prefix(self) -> str:
        """What the topics of this namespace begin with: the broker is shared."""
        return self.namespace

    def create(self, name: str, **spec: Any) -> None:
        self.server.apply(mail_topic(name, self.namespace, **spec))

    def get(self, *arguments: str) -> Json:
        return self.server.get("-n", self.namespace, *arguments)

    def kubectl(self, *arguments: str, **kwargs: Any) -> str:
        return self.server.kubectl("-n", self.namespace, *arguments, **kwargs)

    def status(self, name: str) -> Json:
        status: Json = self.get(f"mailtopics.mailtopic.dev/{name}").get("status", {})
        return status

    def condition(self, name: str, kind: str = "Ready") -> tuple[str, str]:
        """Return a condition's status and reason; empty if there is none."""
        found = [c for c in self.status(name).get("conditions", ()) if c["type"] == kind]
        return (found[0]["status"], found[0]["reason"]) if found else ("", "")

    async def is_ready(self, name: str, *, timeout_s: float = 30) -> None:
        """Return when a MailTopic of this generation is Ready."""

        def ready() -> bool:
            item = self.get(f"mailtopics.mailtopic.dev/{name}")
            conditions = item.get("status", {}).get("conditions", ())
            return any(
                c["type"] == "Ready"
                and c["status"] == "True"
                and c["observedGeneration"] == item["metadata"]["generation"]
                for c in conditions
            )

        await until(ready, f"MailTopic {name} is Ready", timeout_s=timeout_s)


@asynccontextmanager
async def operators(directory: Path, server: ApiServer, servers: str) -> AsyncIterator[Operators]:
    """Operators of a namespace of its own; whatever is left of them is killed in the end."""
    found = Operators(directory, server, servers)
    try:
        yield found
    finally:
        for replica in found.replicas:
            await replica.kill()
