"""Who is measured: each a process that consumes the same topic and sends to the same sink."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.side_by_side.places import HERE, NODE
from benchmarks.side_by_side.records import Format
from benchmarks.side_by_side.relay_sink import HOST


@dataclass(frozen=True, slots=True)
class Errand:
    """What a peer is to do.

    Attributes:
        group: a consumer group that is new, so that it begins at the beginning.
        keys_file: what our records are sealed with.
    """

    servers: str
    topic: str
    group: str
    port: int
    ca_file: Path
    keys_file: Path
    connections: int
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Peer:
    """A program.

    Attributes:
        rates: mails a second that the first round reckons with, by the relay's delay in ms; the
            later ones go by what was measured.
        chooses_connections: whether it uses as many connections as it is told.
    """

    name: str
    title: str
    runtime: str
    script: str
    rates: Mapping[int, int]
    form: Format = Format.ORIGINAL
    chooses_connections: bool = True

    def command(self, runtimes: Mapping[str, Path]) -> Sequence[str]:
        """Return how it is started."""
        if self.runtime == "ours":
            return (sys.executable, "-m", "mailtopic_sender")
        place = NODE if self.runtime == "node" else HERE / "peers/python"
        return (str(runtimes[self.runtime]), str(place / self.script))

    def environment(self, errand: Errand) -> dict[str, str]:
        """Return its variables: the original's names, or ours."""
        common = {"PATH": os.environ["PATH"], "HOME": str(errand.keys_file.parent)}
        if self.runtime == "ours":
            return common | _ours(errand) | dict(errand.settings)
        return common | {
            "KAFKA_BROKERS": errand.servers,
            "KAFKA_TOPIC": errand.topic,
            "KAFKA_GROUP": errand.group,
            "MAIL_HOST": HOST,
            "MAIL_PORT": str(errand.port),
            "MAIL_USER": "noreply@bench.test",
            "MAIL_FROM_NAME": "Bench",
            "CONNECTIONS": str(errand.connections),
            "NODE_EXTRA_CA_CERTS": str(errand.ca_file),
            "SSL_CERT_FILE": str(errand.ca_file),
            "PYTHONDONTWRITEBYTECODE": "1",
        }


def _ours(errand: Errand) -> dict[str, str]:
    return {
        "MAILTOPIC_KAFKA__BOOTSTRAP_SERVERS": errand.servers,
        "MAILTOPIC_TOPIC": errand.topic,
        "MAILTOPIC_GROUP": errand.group,
        "MAILTOPIC_SEALING__KEYS_FILE": str(errand.keys_file),
        "MAILTOPIC_SMTP__HOST": HOST,
        "MAILTOPIC_SMTP__PORT": str(errand.port),
        "MAILTOPIC_SMTP__CA_FILE": str(errand.ca_file),
        "MAILTOPIC_SMTP__MAX_CONNECTIONS": str(errand.connections),
        # As for the others, whose pools keep a connection as long as it lives.
        "MAILTOPIC_SMTP__MAILS_PER_CONNECTION": "1000000",
        "MAILTOPIC_FROM__NAME": "Bench",
        "MAILTOPIC_FROM__ADDRESS": "noreply@bench.test",
        "MAILTOPIC_METRICS__PORT": "0",
        "MAILTOPIC_LOG__FORMAT": "json",
    }


PEERS: Final = {
    peer.name: peer
    for peer in (
        Peer(
            "original",
            "the original consumer: kafkajs, nodemailer",
            "node",
            "original.js",
            {0: 90, 5: 70, 50: 16},
            chooses_connections=False,
        ),
        Peer(
            "nodemailer",
            "kafkajs eachBatch, nodemailer's pool of 32",
            "node",
            "pooled.js",
            {0: 1000, 5: 900, 50: 330},
        ),
        Peer(
            "faststream",
            "FastStream ACK, 32 workers, aiosmtplib",
            "python",
            "faststream_ack.py",
            {0: 700, 5: 400, 50: 65},
            chooses_connections=False,
        ),
        Peer(
            "aiosmtplib",
            "aiokafka, aiosmtplib's pool of 32",
            "python",
            "pooled.py",
            {0: 2500, 5: 1800, 50: 500},
        ),
        Peer(
            "prototype",
            "the bare prototype: aiokafka, 32 pipelined connections",
            "python",
            "prototype.py",
            {0: 10_000, 5: 3500, 50: 600},
        ),
        Peer(
            "ours",
            "MailTopic, all guarantees on",
            "ours",
            "",
            {0: 6000, 5: 3500, 50: 600},
            form=Format.VERSION_1,
        ),
    )
}
