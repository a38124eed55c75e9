"""A real SMTP relay for tests: fast, on loopback, and as badly behaved as a test wants.

In a test::

    authority = Authority()
    async with SmtpRelay(tls=authority.server_context("localhost")) as relay:
        relay.fault(Fault("rcpt", reply="451 4.7.1 Later", recipient="bob@example.com", times=1))
        ...                                  # send to relay.host, relay.port
        relay.mails[0].recipients            # what was accepted, with every byte of the content
        await relay.stop()                   # an outage: the port refuses, open links are cut
        await relay.start()                  # over: the same port again

As a process, for tests that kill things, read from the outside::

    python -m support.smtp_relay --port 2525 --spool mails.jsonl --cert-dir certs

appends one JSON line for every mail accepted (at, sender, recipients, connection, login, sha256,
content as Latin-1) and leaves the authority to trust in certs/ca.pem; the same directory gives the
same authority again. It prints "listening HOST PORT" when ready and ends on SIGTERM. With
--behaviour FILE it reads that file at its start and on each SIGHUP and prints "behaves", and
"fault PHASE" for each fault that it commits. See --help for its other options, `Behaviour`
for the file, `smtp_relay_process` to use it.

What it offers is set by the constructor: STARTTLS or TLS from the start, AUTH PLAIN and LOGIN,
PIPELINING, SMTPUTF8, 8BITMIME, SIZE. How it misbehaves may change at any time: `fault`,
`greylist_s`, `delay_s`, `stop`, `drop_links`. What it never does: deliver a mail anywhere.
"""

import argparse
import asyncio
import json
import random
import signal
import ssl
import sys
import time
import zlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import trustme

from support.smtp_relay_link import PHASES, Fault, ReceivedMail, RelayLink

__all__ = ["Authority", "Behaviour", "Fault", "ReceivedMail", "SmtpRelay", "is_among"]


class Authority:
    """A certificate authority of one test's own."""

    def __init__(self) -> None:
        self._ca = trustme.CA()

    def write_pem(self, path: Path) -> Path:
        """Write what a client has to trust; return the path."""
        path.write_bytes(self._ca.cert_pem.bytes())
        return path

    def server_context(self, *names: str, expired: bool = False) -> ssl.SSLContext:
        """A server's context with a certificate for these names (or addresses)."""
        not_after = datetime.now(UTC) - timedelta(days=1) if expired else None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._ca.issue_cert(*(names or ("localhost",)), not_after=not_after).configure_cert(context)
        return context

    def write_server_pem(self, path: Path, *names: str) -> Path:
        """Write a certificate chain and its key in one file; return the path."""
        path.write_bytes(self._ca.issue_cert(*names).private_key_and_cert_chain_pem.bytes())
        return path


class SmtpRelay:
    """The relay. Attributes may be changed while it runs.

    Attributes:
        mails: what was accepted, in order.
        connections: how many were ever made; `links` are the open ones.
        logins: names that logged in, in order.
        commands: the latest command lines, with their connection's number.
        flights: how many of the latest reads had how many commands: shows pipelining.
        greylist_s: refuse every recipient until this long after it was first seen, seconds.
        greylist_share: of how many of the recipients that is true, always the same ones.
        delay_s: before every reply, or by phase, seconds.
        grants_data_always: answer 354 to DATA even without a recipient.
        drips: send replies octet by octet.
        on_fault: called with each fault that it commits.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        implicit_tls: bool = False,
        users: Mapping[str, str] | None = None,
        require_login: bool = False,
        pipelining: bool = True,
        smtputf8: bool = True,
        eight_bit_mime: bool = True,
        max_octets: int | None = 10_000_000,
        spool: Path | None = None,
        keep: bool = True,
        seed: int = 1,
    ) -> None:
        self.host = host
        self.port = port
        self.tls = tls
        self.implicit_tls = implicit_tls
        self.users = users
        self.require_login = require_login
        self.pipelining = pipelining
        self.smtputf8 = smtputf8
        self.eight_bit_mime = eight_bit_mime
        self.max_octets = max_octets
        self.mails: list[ReceivedMail] = []
        self.connections = 0
        self.links: set[RelayLink] = set()
        self.logins: list[str] = []
        self.commands: deque[tuple[int, str]] = deque(maxlen=10_000)
        self.flights: deque[int] = deque(maxlen=10_000)
        self.greylist_s = 0.0
        self.greylist_share = 1.0
        self.delay_s: float | dict[str, float] = 0.0
        self.grants_data_always = False
        self.hates_streams = False
        self.drips = False
        self.on_fault: Callable[[Fault], None] = lambda _fault: None
        self.tasks: set[asyncio.Task[None]] = set()
        self._faults: list[Fault] = []
        self._first_seen: dict[str, float] = {}
        self._random = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self._spool_path = spool
        self._spool: IO[str] | None = None
        self._keep = keep
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen; on the same port as before if it was stopped."""
        loop = asyncio.get_running_loop()
        context = self.tls if self.implicit_tls else None
        self._server = await loop.create_server(
            lambda: RelayLink(self), self.host, self.port, ssl=context, backlog=512
        )
        self.port = self._server.sockets[0].getsockname()[1]
        if self._spool_path is not None and self._spool is None:
            self._spool = self._spool_path.open("a", encoding="utf-8", buffering=1)

    async def stop(self) -> None:
        """Refuse connections and cut the open ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.drop_links()
        for task in tuple(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()
        if self._spool is not None:
            self._spool.close()

    def fault(self, fault: Fault) -> Fault:
        """Misbehave so from now on; the first fault that fits wins. Returns it for `heal`."""
        if fault.phase not in PHASES:
            raise ValueError(fault.phase)
        self._faults.append(fault)
        return fault

    def heal(self, fault: Fault | None = None) -> None:
        """Take one fault back, or all."""
        self._faults = [other for other in self._faults if fault is not None and other is not fault]

    def drop_links(self, *, farewell: bytes = b"") -> None:
        """Cut every open connection, abruptly or after a farewell such as a 421."""
        for link in tuple(self.links):
            link.cut(farewell)

    def due_fault(self, phase: str, recipients: list[str], _connection: int) -> Fault | None:
        """The fault to commit now, if any, on the connection of this number."""
        for fault in self._faults:
            if fault.phase != phase or fault.times == 0:
                continue
            if fault.recipient is not None and fault.recipient not in recipients:
                continue
            if fault.probability < 1 and self._random.random() >= fault.probability:
                continue
            if fault.times is not None:
                fault.times -= 1
            self.on_fault(fault)
            return fault
        return None

    def delay_of(self, phase: str) -> float:
        """Seconds to wait before a reply."""
        if isinstance(self.delay_s, dict):
            return self.delay_s.get(phase, 0.0)
        return self.delay_s

    def is_greylisted(self, recipient: str) -> bool:
        """Whether to refuse a recipient for now; remembers when it was first seen."""
        if self.greylist_s <= 0 or not is_among(recipient, self.greylist_share):
            return False
        now = time.monotonic()
        return now - self._first_seen.setdefault(recipient, now) < self.greylist_s

    def behave(self, behaviour: "Behaviour") -> None:
        """Behave so from now on, whatever was before."""
        self.heal()
        for fault in behaviour.faults:
            self.fault(fault)
        self.greylist_s = behaviour.greylist_s
        self.greylist_share = behaviour.greylist_share
        self.delay_s = behaviour.delay_s
        if behaviour.drops_links:
            self.drop_links()

    def accept(self, mail: ReceivedMail) -> None:
        """Record a mail."""
        if self._keep:
            self.mails.append(mail)
        if self._spool is not None:
            self._spool.write(mail.as_json() + "\n")


@dataclass(frozen=True)
class Behaviour:
    """How a relay behaves; see the attributes of `SmtpRelay`."""

    faults: Sequence[Fault] = ()
    greylist_s: float = 0.0
    greylist_share: float = 1.0
    delay_s: float | dict[str, float] = 0.0
    drops_links: bool = False

    def as_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        fields = json.loads(text)
        return cls(**fields | {"faults": [Fault(**fault) for fault in fields["faults"]]})


def is_among(recipient: str, share: float) -> bool:
    """Whether a recipient belongs to a share of all, chosen by its name alone."""
    return zlib.crc32(recipient.encode()) % 1000 < share * 1000


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="support.smtp_relay")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--spool", type=Path, help="append a JSON line for each mail")
    parser.add_argument("--cert-dir", type=Path, help="offer STARTTLS; trust DIR/ca.pem")
    parser.add_argument("--user", action="append", metavar="NAME:PASSWORD", default=[])
    parser.add_argument("--no-pipelining", action="store_true")
    parser.add_argument("--no-smtputf8", action="store_true")
    parser.add_argument("--greylist-s", type=float, default=0.0)
    parser.add_argument("--delay-s", type=float, default=0.0, help="before each reply")
    parser.add_argument("--closing", type=float, default=0.0, help="probability of 421 at MAIL")
    parser.add_argument("--lost-dots", type=float, default=0.0, help="of taking it, then silence")
    parser.add_argument("--behaviour", type=Path, help="a Behaviour as JSON; read again on SIGHUP")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(argv)


def server_context_in(directory: Path) -> ssl.SSLContext:
    """The context of this directory's certificate; made if there is none yet."""
    directory.mkdir(parents=True, exist_ok=True)
    server = directory / "server.pem"
    if not server.exists():
        authority = Authority()
        authority.write_pem(directory / "ca.pem")
        authority.write_server_pem(server, "localhost", "127.0.0.1")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(server)
    return context


def _follow(relay: SmtpRelay, file: Path) -> None:
    def read() -> None:
        relay.behave(Behaviour.from_json(file.read_text("utf-8")))
        print("behaves", flush=True)  # noqa: T201 - its interface

    def tell(fault: Fault) -> None:
        print(f"fault {fault.phase}", flush=True)  # noqa: T201 - its interface

    read()
    relay.on_fault = tell
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, read)


async def _serve(arguments: argparse.Namespace) -> None:
    relay = SmtpRelay(
        host=arguments.host,
        port=arguments.port,
        tls=server_context_in(arguments.cert_dir) if arguments.cert_dir else None,
        users=dict(user.split(":", 1) for user in arguments.user) or None,
        pipelining=not arguments.no_pipelining,
        smtputf8=not arguments.no_smtputf8,
        spool=arguments.spool,
        keep=False,
        seed=arguments.seed,
    )
    relay.greylist_s = arguments.greylist_s
    relay.delay_s = arguments.delay_s
    if arguments.closing:
        relay.fault(Fault("mail", reply="421 4.3.2 closing", probability=arguments.closing))
    if arguments.lost_dots:
        relay.fault(Fault("dot", drop=True, accept=True, probability=arguments.lost_dots))
    if arguments.behaviour:
        _follow(relay, arguments.behaviour)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with relay:
        print(f"listening {relay.host} {relay.port}", flush=True)  # noqa: T201 - its interface
        await stopped.wait()


if __name__ == "__main__":
    asyncio.run(_serve(_arguments(sys.argv[1:])))
