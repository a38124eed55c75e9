"""Sender processes on a broker and a relay that a test owns, and what Kafka holds afterwards."""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import aiokafka
import httpx

from mailtopic_cli.children import Child
from mailtopic_client import KafkaClient, KafkaSettings, MailSender
from mailtopic_contract import KeyRing, StatusEvent, decode_status
from support.conditions import until
from support.ports import free_port
from support.smtp_relay import Authority, SmtpRelay

PARTITIONS = 6
"""What a sender gives a topic that it creates."""


@dataclass
class Senders:
    """One topic and any number of senders; `relay_environment` has the settings of their relay."""

    directory: Path
    servers: str
    topic: str
    settings: dict[str, str] = field(default_factory=dict)
    senders: dict[str, Child] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)

    async def __aenter__(self) -> Self:
        self.keyring = KeyRing.generate()
        (self.directory / "keys.json").write_text(self.keyring.dump())
        self.broker = KafkaClient(
            KafkaSettings(bootstrap_servers=tuple(self.servers.split(","))),
            max_request_bytes=5_000_000,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(sender.kill() for sender in self.senders.values()))
        await self.broker.close()

    def relay_environment(self) -> dict[str, str]:
        """The settings that name the relay."""
        return {}

    @property
    def mails(self) -> MailSender:
        return MailSender(self.broker, topic=self.topic, keyring=self.keyring)

    def environment(self, name: str) -> dict[str, str]:
        common = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "MAILTOPIC_KAFKA__BOOTSTRAP_SERVERS": self.servers,
            "MAILTOPIC_TOPIC": self.topic,
            "MAILTOPIC_SEALING__KEYS_FILE": str(self.directory / "keys.json"),
            "MAILTOPIC_FROM__ADDRESS": "noreply@mailtopic.test",
            "MAILTOPIC_METRICS__PORT": str(self.ports[name]),
            "MAILTOPIC_CONSUMER__SESSION_TIMEOUT_S": "6",
            "MAILTOPIC_LOG__FORMAT": "json",
        }
        return common | self.relay_environment() | self.settings

    def start(self, name: str = "sender", *, env: dict[str, str] | None = None) -> Child:
        """Start a sender process, or a killed one again."""
        self.ports.setdefault(name, free_port())
        self.senders[name] = Child(
            [sys.executable, "-m", "mailtopic_sender"],
            log_file=self.directory / f"{name}.log",
            env=env or self.environment(name),
            cwd=self.directory,
        )
        return self.senders[name]

    async def start_ready(self, name: str = "sender") -> Child:
        sender = self.start(name)
        await until(lambda: self.is_ready(name), f"{name} is ready", timeout_s=60)
        return sender

    async def is_ready(self, name: str = "sender") -> bool:
        return (await self.probe("readyz", name)).startswith("ok")

    async def probe(self, path: str, name: str = "sender") -> str:
        """A probe's answer; empty while nothing listens."""
        try:
            async with httpx.AsyncClient() as http:
                url = f"http://127.0.0.1:{self.ports[name]}/{path}"
                return (await http.get(url)).text
        except httpx.TransportError:
            return ""

    def log(self) -> str:
        """Everything that all senders wrote."""
        logs = sorted(self.directory.glob("*.log"))
        return "".join(path.read_text(errors="replace") for path in logs)

    async def records(self, topic: str) -> list[Any]:
        """All records of a topic, as aiokafka reads them."""
        consumer = aiokafka.AIOKafkaConsumer(
            bootstrap_servers=self.servers, enable_auto_commit=False
        )
        await consumer.start()
        try:
            places = [aiokafka.TopicPartition(topic, number) for number in range(PARTITIONS)]
            consumer.assign(places)
            await consumer.seek_to_beginning(*places)
            ends = await consumer.end_offsets(places)
            found: list[Any] = []
            while any([await consumer.position(place) < ends[place] for place in places]):
                for batch in (await consumer.getmany(timeout_ms=200)).values():
                    found += batch
            return found
        finally:
            await consumer.stop()

    async def events(self) -> list[StatusEvent]:
        return [decode_status(r.value) for r in await self.records(f"{self.topic}.status")]


@dataclass
class Bench(Senders):
    """Senders and one relay, in the test's own process."""

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        authority = Authority()
        authority.write_pem(self.directory / "ca.pem")
        self.relay = SmtpRelay(tls=authority.server_context("127.0.0.1"))
        await self.relay.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await super().__aexit__(*error)
        await self.relay.stop()

    def relay_environment(self) -> dict[str, str]:
        return {
            "MAILTOPIC_SMTP__HOST": self.relay.host,
            "MAILTOPIC_SMTP__PORT": str(self.relay.port),
            "MAILTOPIC_SMTP__CA_FILE": str(self.directory / "ca.pem"),
        }

    def deliveries(self) -> Counter[str]:
        """How many copies the relay took, by recipient."""
        return Counter(mail.recipients[0] for mail in self.relay.mails)

    async def delivered(self, addresses: Sequence[str], *, timeout_s: float = 60) -> None:
        """Wait until every address has a mail."""
        wanted = set(addresses)
        await until(
            lambda: wanted <= self.deliveries().keys(),
            f"{len(wanted)} addresses have a mail",
            timeout_s=timeout_s,
        )
