"""The relay of the benchmarks as a process: see sink/main.go for what it does."""

import http.client
import json
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from support.smtp_relay import Authority

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Arrival:
    """A mail as the sink took it: its recipient's number, and when its last reply left."""

    number: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class Counts:
    """What the sink took since `begin`.

    Attributes:
        held_us: for how long it kept the last replies back, all together.
    """

    mails: int
    octets: int
    held_us: int
    connections: int


class Sink:
    """``with Sink(program, directory) as sink:`` runs one.

    Attributes:
        port: where it speaks SMTP.
        ca_file: the authority that clients have to trust.
    """

    def __init__(self, program: Path, directory: Path, *, takes_plain: bool = False) -> None:
        authority = Authority()
        self.ca_file = authority.write_pem(directory / "sink-ca.pem")
        certificate = authority.write_server_pem(directory / "sink.pem", HOST, "localhost")
        self._command = [str(program), "-certificate", str(certificate)]
        self._command += ["-plain"] if takes_plain else []

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        _, port, control_port = self._process.stdout.readline().split()
        self.port = int(port)
        self._control = http.client.HTTPConnection(HOST, int(control_port), timeout=60)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._control.close()
        self._process.communicate()  # ends its input, and so the process

    def begin(self, *, delay_ms: float) -> None:
        """Forget what came, and from now on reply to the final dot so late."""
        self._ask("POST", f"/begin?delay_us={round(delay_ms * 1000)}")

    def counts(self) -> Counts:
        """Return what came so far."""
        return Counts(**json.loads(self._ask("GET", "/count")))

    def arrivals(self) -> list[Arrival]:
        """Return every mail, in order of arrival. To be asked when no mail is on its way."""
        found = struct.iter_unpack("<Qq", self._ask("GET", "/arrivals"))
        return sorted((Arrival(*each) for each in found), key=lambda arrival: arrival.at_ns)

    def sample(self) -> bytes:
        """Return the first mail's octets."""
        return self._ask("GET", "/sample")

    def _ask(self, method: str, path: str) -> bytes:
        self._control.request(method, path)
        answer = self._control.getresponse()
        body = answer.read()
        assert answer.status == http.HTTPStatus.OK, body
        return body
