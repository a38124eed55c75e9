"""The whole pipeline as processes that a test starts, kills and starts again.

Kafka, signup, senders and the inbox are the real programs. A test can give another relay instead
of the inbox.
"""

import os
import re
import signal
import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self

import httpx

from mailtopic_cli.children import Child
from mailtopic_cli.kafka_node import KafkaNode
from mailtopic_contract import KeyRing
from support.conditions import until
from support.ports import free_ports

TOPIC = "mails"
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class RelayAddress:
    """Where senders deliver to."""

    port: int
    ca_file: Path
    host: str = "127.0.0.1"


@dataclass
class Pipeline:
    """A broker, a signup service, senders and an inbox in a directory of their own.

    ``async with Pipeline(...) as pipeline`` starts all of it and ends it again.
    """

    directory: Path
    relay: RelayAddress | None = None
    senders: int = 2
    settings: dict[str, str] = field(default_factory=dict)
    node: type[KafkaNode] = KafkaNode
    processes: dict[str, Child] = field(default_factory=dict)

    async def __aenter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        (
            kafka_port,
            controller_port,
            self.signup_port,
            self.inbox_port,
            self.smtp_port,
            *self.metrics_ports,
        ) = free_ports(5 + self.senders)
        self.kafka = self.node(
            self.directory / "kafka", port=kafka_port, controller_port=controller_port
        )
        for name in ("sealing", "pepper"):
            (self.directory / f"{name}.json").write_text(KeyRing.generate("k1").dump())
        await self.kafka.start()
        if self.relay is None:
            self.start("inbox")
            await until((self.directory / "inbox" / "ca.pem").exists, "the inbox has made its CA")
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
    def inbox_url(self) -> str:
        return f"http://127.0.0.1:{self.inbox_port}"

    @property
    def sender_names(self) -> list[str]:
        return [f"sender-{number}" for number in range(self.senders)]

    def start(self, name: str) -> None:
        """Start a process that doesn't run: ``inbox``, ``signup`` or ``sender-N``."""
        self.processes[name] = Child(
            [sys.executable, "-m", *self._command(name)],
            log_file=self.log_file(name),
            env=self.environment(name),
            cwd=self.directory,
        )

    def _command(self, name: str) -> list[str]:
        if name != "inbox":
            return [f"mailtopic_{name.partition('-')[0]}"]
        ports = ["--http-port", str(self.inbox_port), "--smtp-port", str(self.smtp_port)]
        return ["mailtopic_cli", "inbox", "--data-dir", str(self.directory / "inbox"), *ports]

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
                # All of a test's people are one client.
                "MAILTOPIC_CLIENTS__SIGNUPS_PER_MINUTE": "0",
                "MAILTOPIC_CLIENTS__VERIFIES_PER_FIVE_MINUTES": "0",
            }
        if name.startswith("sender"):
            number = int(name.removeprefix("sender-"))
            relay = self.relay or RelayAddress(self.smtp_port, self.directory / "inbox" / "ca.pem")
            env |= {
                "MAILTOPIC_SMTP__HOST": relay.host,
                "MAILTOPIC_SMTP__PORT": str(relay.port),
                "MAILTOPIC_SMTP__CA_FILE": str(relay.ca_file),
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

    async def mails(self) -> list[dict[str, Any]]:
        """The inbox's mails as its list shows them, the newest first."""
        async with httpx.AsyncClient(base_url=self.inbox_url, timeout=30) as client:
            found: list[dict[str, Any]] = []
            while True:
                params = {"start": len(found), "limit": _PAGE}
                page = (await client.get("/api/v1/messages", params=params)).json()["messages"]
                found += page
                if len(page) < _PAGE:
                    return found

    async def mail_text(self, mail_id: str) -> str:
        """The text part of a mail in the inbox."""
        async with httpx.AsyncClient(base_url=self.inbox_url) as client:
            return str((await client.get(f"/api/v1/message/{mail_id}")).json()["Text"])


async def _is_ok(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(url)).is_success
    except httpx.TransportError:
        return False


def code_of(text: str) -> str:
    """The one-time code in a mail's text."""
    (code,) = re.findall(r"(?<![0-9])[0-9]{6}(?![0-9])", text)
    return str(code)
