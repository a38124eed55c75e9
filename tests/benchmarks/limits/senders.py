"""What sends: ours, Postfix as a local relay, BullMQ in front of nodemailer's pool."""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from aiosmtplib import SMTP

from benchmarks.limits.relays import Relay
from benchmarks.limits.trials import Trial
from benchmarks.side_by_side.places import MADE
from benchmarks.side_by_side.records import CODE, Record
from benchmarks.side_by_side.topics import Topics
from mailtopic_contract import MailHeaders, new_record
from mailtopic_sender.adapters.smtp_settings import Security
from support.conditions import until
from support.mail_servers.postfix import COMMAND, MASTER, PLACES, make_queues
from support.mail_servers.server import DebianServer, Limits
from support.senders import PARTITIONS, Senders

PEERS: Final = Path(__file__).parent / "peers"
PEERS_MADE: Final = MADE / "limits-node"
_SUBMITTERS: Final = 20
_HOST: Final = "127.0.0.1"
_VALID_MS: Final = 3_600_000
"""Longer than a run, as what is measured beside ours knows no expiry."""


class Sender(Protocol):
    """Something that sends what it is given."""

    async def start(self) -> None:
        """Return when it would send a mail at once."""
        ...

    async def give(self, recipient: str) -> None:
        """Hand a mail over."""
        ...

    async def kill(self) -> None:
        """End it at once, if it runs; what is unsent stays so."""
        ...


@dataclass
class Place:
    """What a run's sender finds.

    Attributes:
        directory: of the run alone.
        topics: of the Kafka that all runs share.
        redis_port: of the Redis that all runs share; 0: there is none.
    """

    directory: Path
    topics: Topics
    redis_port: int
    node: Path | None


@dataclass(frozen=True, slots=True)
class Kind:
    """A way of sending.

    Attributes:
        makes: returns a sender, or None if there is none of this kind for the trial.
    """

    name: str
    title: str
    makes: Callable[[Place, Relay, Trial], Sender | None]
    needs_redis: bool = False
    needs_postfix: bool = False


class _Group(Senders):
    """Our senders, and the one relay that they know."""

    relay: Relay

    def relay_environment(self) -> dict[str, str]:
        return {
            "MAILTOPIC_SMTP__HOST": "localhost",
            "MAILTOPIC_SMTP__PORT": str(self.relay.port),
            "MAILTOPIC_SMTP__CA_FILE": str(self.relay.ca_file),
        }


class Ours:
    """Senders of one group, nothing set."""

    def __init__(self, place: Place, relay: Relay, count: int) -> None:
        self._topics = place.topics
        self._topic = place.topics.make(partitions=PARTITIONS)
        self._group = _Group(place.directory, place.topics.servers, self._topic)
        self._group.relay = relay
        self._names = [f"sender-{number}" for number in range(count)]

    async def start(self) -> None:
        """Return when each is ready."""
        await self._group.__aenter__()
        await asyncio.gather(*map(self._group.start_ready, self._names))

    async def give(self, recipient: str) -> None:
        """Publish a mail."""
        now_ms = round(time.time() * 1000)
        mail = new_record(
            email=recipient,
            variables={"code": CODE},
            purpose="signup",
            locale="ru",
            accepted_at_ms=now_ms,
            expires_at_ms=now_ms + _VALID_MS,
            seal=self._group.seal,
        )
        headers = tuple(MailHeaders(mail_id=mail.id).encode())
        record = Record(mail.address.partition_key, mail.encode(), headers)
        self._topics.send(self._topic, record, record.value)
        self._topics.producer.poll(0)

    async def kill(self) -> None:
        """Kill them."""
        await self._group.__aexit__()


class LocalPostfix:
    """Debian's Postfix as it comes, on this machine, told nothing but where to relay to."""

    def __init__(self, place: Place, relay: Relay) -> None:
        self._server = _RelayingPostfix(place.directory / "local", relay.port)
        self._idle: asyncio.Queue[SMTP] = asyncio.Queue()

    async def start(self) -> None:
        """Return when mails can be submitted."""
        await self._server.start()
        for _ in range(_SUBMITTERS):
            session = SMTP(hostname=_HOST, port=self._server.port, start_tls=False)
            await session.connect()
            self._idle.put_nowait(session)

    async def give(self, recipient: str) -> None:
        """Submit a mail; raises SMTPException if it isn't taken."""
        session = await self._idle.get()
        await session.sendmail("noreply@mailtopic.test", recipient, _MAIL)
        self._idle.put_nowait(session)

    async def kill(self) -> None:
        """Kill it."""
        await self._server.kill()


class _RelayingPostfix(DebianServer):
    name = "postfix"
    security = Security.NONE

    def __init__(self, directory: Path, relay_port: int) -> None:
        self._relay_port = relay_port
        directory.mkdir()
        super().__init__(directory, Limits())

    def configure(self) -> Sequence[str]:
        self.inside.etc_file("postfix/main.cf", PLACES + _RELAYS.format(port=self._relay_port))
        self.inside.etc_file("postfix/master.cf", MASTER.format(port=self.port) + _CLIENT)
        make_queues(self.inside)
        return COMMAND


_RELAYS: Final = """
myhostname = local.test
mynetworks = 127.0.0.0/8
relayhost = [127.0.0.1]:{port}
smtp_tls_security_level = may
"""
"""As Debian's postinst writes it for a satellite system."""
_CLIENT: Final = "smtp unix - - n - - smtp\n"
_MAIL: Final = "From: Bench <noreply@mailtopic.test>\r\nSubject: Code\r\n\r\nYour code: 123456\r\n"


class BullMq:
    """A queue in Redis and nodemailer's pool: see peers/bullmq.js."""

    def __init__(self, place: Place, relay: Relay, limiter: float | None) -> None:
        assert place.node is not None
        self._process: asyncio.subprocess.Process | None = None
        self._log = place.directory / "bullmq.log"
        self._command = (str(place.node), str(PEERS_MADE / "bullmq.js"))
        self._environment = {
            "PATH": os.environ["PATH"],
            "QUEUE": place.directory.name,
            "REDIS_PORT": str(place.redis_port),
            "RELAY_PORT": str(relay.port),
            "NODE_EXTRA_CA_CERTS": str(relay.ca_file),
            "LIMIT": "" if limiter is None else f"{limiter:g}",
        }

    async def start(self) -> None:
        """Return when its worker waits for jobs."""
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=self._environment,
            )
        await until(lambda: "ready" in self._log.read_text(), "BullMQ is ready")

    async def give(self, recipient: str) -> None:
        """Write a mail to the process that queues it."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"{recipient}\n".encode())
        await self._process.stdin.drain()

    async def kill(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            await self._process.wait()

    @property
    def given_up(self) -> int:
        """How many mails it won't try again."""
        return self._log.read_text().count("given up")


def _bullmq_limited(place: Place, relay: Relay, trial: Trial) -> Sender | None:
    return None if trial.limiter is None else BullMq(place, relay, trial.limiter)


KINDS: Final = {
    kind.name: kind
    for kind in (
        Kind("ours", "MailTopic, one sender", lambda place, relay, _: Ours(place, relay, 1)),
        Kind("ours-3", "MailTopic, three senders", lambda place, relay, _: Ours(place, relay, 3)),
        Kind(
            "postfix",
            "Postfix as a local relay",
            lambda place, relay, _: LocalPostfix(place, relay),
            needs_postfix=True,
        ),
        Kind(
            "bullmq",
            "BullMQ, nodemailer's pool",
            lambda place, relay, _: BullMq(place, relay, None),
            needs_redis=True,
        ),
        Kind(
            "bullmq-limiter",
            "the same, its limiter set to the limit",
            _bullmq_limited,
            needs_redis=True,
        ),
    )
}
