"""The devstack's ports, and whether they are free."""

import contextlib
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mailtopic_cli.devstack.errors import BadStart, option

HOST = "127.0.0.1"
HIGHEST = 65_535
_LISTENING = "0A"  # TCP_LISTEN in /proc/net/tcp


@dataclass(frozen=True, slots=True)
class Ports:
    """Every port of one devstack; `senders` has one metrics port for each sender."""

    signup: int
    inbox: int
    smtp: int
    kafka: int
    controller: int
    senders: tuple[int, ...]

    @classmethod
    def default(cls, senders: int) -> "Ports":
        """The default ports, as in the documentation."""
        return cls(8080, 8025, 1025, 9092, 9093, tuple(range(9100, 9100 + senders)))

    @classmethod
    def from_base(cls, base: int, senders: int) -> "Ports":
        """Consecutive ports from `base` on: signup, inbox, SMTP, Kafka, controller, senders."""
        metrics = tuple(range(base + 5, base + 5 + senders))
        return cls(base, base + 1, base + 2, base + 3, base + 4, metrics)

    def named(self) -> Iterator[tuple[str, int]]:
        """Each port with what listens on it, in words."""
        yield "the signup page", self.signup
        yield "the inbox page", self.inbox
        yield "SMTP", self.smtp
        yield "Kafka", self.kafka
        yield "Kafka's controller", self.controller
        for number, port in enumerate(self.senders, start=1):
            yield f"the metrics of sender {number}", port


def check_ports(ports: Ports) -> None:
    """Check that each port can be listened on.

    Raises:
        BadStart: one cannot; the text names it, its user if that is known, and the way out.
    """
    for purpose, port in ports.named():
        if port > HIGHEST:
            raise BadStart(
                f"port {port} for {purpose} is above {HIGHEST}: take a lower one: "
                f"{option('--port-base …')}"
            )
        try:
            _listen_once(port)
        except PermissionError:
            raise BadStart(
                f"port {port} for {purpose} needs rights that you do not have: "
                f"take one above 1023: {option('--port-base 18080')}"
            ) from None
        except OSError:
            user = port_user(port)
            used = f" by {user}" if user else ""
            raise BadStart(
                f"port {port} for {purpose} is in use{used}: stop that, or take other ports: "
                f"{option('--port-base 18080')}"
            ) from None


def port_user(port: int) -> str | None:
    """The process that listens on a local port: "nginx (pid 123)". None if it is unknown."""
    inode = _listening_inode(port)
    if inode is None:
        return None
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            for link in (folder / "fd").iterdir():
                with contextlib.suppress(OSError):
                    if str(link.readlink()) == f"socket:[{inode}]":
                        return f"{(folder / 'comm').read_text().strip()} (pid {folder.name})"
    return None


def _listen_once(port: int) -> None:
    with socket.socket() as probe:
        # As the servers do: closing connections of an earlier run (TIME_WAIT) do not matter.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((HOST, port))
        probe.listen(1)


def _listening_inode(port: int) -> str | None:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text("ascii").splitlines()[1:]:
                fields = re.split(r"\s+", line.strip())
                if fields[1].endswith(f":{port:04X}") and fields[3] == _LISTENING:
                    return fields[9]
    return None
