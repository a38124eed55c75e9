"""The whole pipeline as processes that a test starts, kills and starts again.

Kafka, signup and senders are the real programs; where mails go is the test's choice.
"""

import os
import re
import signal
import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Self

import httpx

from mailtopic_cli.children import Child
from mailtopic_cli.kafka_node import KafkaNode
from mailtopic_contract import KeyRing
from support.conditions import until
from support.ports import free_ports

TOPIC = "mails"


@dataclass(frozen=True, slots=True)
class RelayAddress:
    """Where senders deliver to."""

    port: int
    ca_file: Path
    host: str = "127.0.0.1"


@dataclass
class Pipeline:
    """A broker, a signup service and senders in a directory of their own.

    ``async with Pipeline(...) as pipeline`` starts all of it and ends it again.
    """

    directory: Path
    relay: RelayAddress
    senders: int = 2
    settings: dict[str, str] = field(default_factory=dict)
    processes: dict[str, Child] = field(default_factory=dict)

    async def __aenter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        kafka_port, controller_port, self.signup_port, *self.metrics_ports = free_ports(
            3 + self.senders
        )
        self.kafka = KafkaNode(
            self.directory / "kafka", port=kafka_port, controller_port=controller_port
        )
        for name in ("sealing", "pepper"):
            (self.directory / f"{name}.json").write_text(KeyRing.generate("k1").dump())
        await self.kafka.start()
        self.start("signup")
        for number in range(self.senders):
            self.start(f"sender-{number}")
        await self.ready()
        return self

    async def __aexit__(self, *_: object) -> None:
        for process in self.processes.values():
            if process.exit_code is None:
                os.kill(process.pid, signal.SIGTERM)
        for process in self.processes.values():
            await process.end(grace_s=40)
        await self.kafka.stop()

    @property
    def signup_url(self) -> str:
        return f"http://127.0.0.1:{self.signup_port}"

    @property
    def sender_names(self) -> list[str]:
        return [f"sender-{number}" for number in range(self.senders)]

    def start(self, name: str) -> None:
        """Start a process that doesn't run: ``signup`` or ``sender-N``."""
        module = "mailtopic_signup" if name == "signup" else "mailtopic_sender"
        self.processes[name] = Child(
            [sys.executable, "-m", module],
            log_file=self.log_file(name),
            env=self.environment(name),
            cwd=self.directory,
        )

    async def kill(self, name: str) -> None:
        """End a process as a crash would (SIGKILL)."""
        if name == "kafka":
            await self.kafka.kill()
        else:
            await self.processes[name].kill()

    async def restart(self, name: str) -> None:
        """Start a killed process again."""
        if name == "kafka":
            await self.kafka.start()
        else:
            self.start(name)

    def environment(self, name: str) -> dict[str, str]:
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "MAILTOPIC_KAFKA__BOOTSTRAP_SERVERS": self.kafka.bootstrap_servers,
            "MAILTOPIC_TOPIC": TOPIC,
            "MAILTOPIC_SEALING__KEYS_FILE": str(self.directory / "sealing.json"),
            "MAILTOPIC_LOG__FORMAT": "json",
        }
        if name == "signup":
            env |= {
                "MAILTOPIC_HTTP__PORT": str(self.signup_port),
                "MAILTOPIC_DATABASE__URL": f"sqlite+aiosqlite:///{self.directory}/signup.db",
                "MAILTOPIC_PEPPER__KEYS_FILE": str(self.directory / "pepper.json"),
            }
        else:
            number = int(name.removeprefix("sender-"))
            env |= {
                "MAILTOPIC_SMTP__HOST": self.relay.host,
                "MAILTOPIC_SMTP__PORT": str(self.relay.port),
                "MAILTOPIC_SMTP__CA_FILE": str(self.relay.ca_file),
                "MAILTOPIC_FROM__NAME": "MailTopic",
                "MAILTOPIC_FROM__ADDRESS": "noreply@mailtopic.test",
                "MAILTOPIC_METRICS__PORT": str(self.metrics_ports[number]),
            }
        return env | self.settings

    async def ready(self) -> None:
        """Wait until signup and every sender say that they are ready."""
        urls = [f"{self.signup_url}/readyz"]
        urls += [f"http://127.0.0.1:{port}/readyz" for port in self.metrics_ports]
        async with httpx.AsyncClient() as client:
            for url in urls:
                await until(partial(_is_ok, client, url), f"{url} says 200", timeout_s=60)

    def log_file(self, name: str) -> Path:
        return self.directory / f"{name}.log"

    def log(self, name: str) -> str:
        """Everything that a process wrote, over all its lives."""
        path = self.log_file(name)
        return path.read_text(errors="replace") if path.exists() else ""

    def logs(self) -> str:
        return "".join(self.log(name) for name in self.processes)

    async def metrics(self) -> str:
        """The metrics of all processes, one after the other."""
        urls = [f"{self.signup_url}/metrics"]
        urls += [f"http://127.0.0.1:{port}/metrics" for port in self.metrics_ports]
        async with httpx.AsyncClient() as client:
            return "".join([(await client.get(url)).text for url in urls])


async def _is_ok(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(url)).is_success
    except httpx.TransportError:
        return False


def code_of(text: str) -> str:
    """The one-time code in a mail's text."""
    (code,) = re.findall(r"(?<![0-9])[0-9]{6}(?![0-9])", text)
    return str(code)
