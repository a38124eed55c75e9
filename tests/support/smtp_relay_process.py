"""The test relay as a process: what it took survives everything that a test kills."""

import json
import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

from mailtopic_cli.children import Child
from support.conditions import until
from support.ports import free_port
from support.smtp_relay import Behaviour

TESTS = Path(__file__).parents[1]
USER, PASSWORD = "mailtopic", "made-up"
"""The login of a relay that requires one."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A mail that the relay took: to whom, when (epoch seconds), and which bytes."""

    recipient: str
    at: float
    sha256: str


@dataclass
class RelayProcess:
    """A relay with STARTTLS.

    Attributes:
        needs_login: whether it offers AUTH, and senders use it.
        taken: what it took, as far as `read` has read it.
    """

    directory: Path
    needs_login: bool = False
    host: str = "127.0.0.1"
    taken: list[Taken] = field(default_factory=list)
    _read_bytes: int = 0
    _process: Child | None = None

    async def start(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.spool = self.directory / "spool.jsonl"
        self.spool.touch()
        self._log = self.directory / "relay.log"
        self._write(Behaviour())
        self.password_file.write_text(PASSWORD, "utf-8")
        login = ["--user", f"{USER}:{PASSWORD}"] if self.needs_login else []
        options = ["--port", self.port, "--spool", self.spool, "--cert-dir", self.directory]
        options += ["--behaviour", self._file]
        self._process = Child(
            [sys.executable, "-m", "support.smtp_relay", *map(str, options), *login],
            log_file=self._log,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(TESTS)},
            cwd=self.directory,
        )
        await until(lambda: "listening" in self._log.read_text(), "the relay listens")

    async def stop(self) -> None:
        if self._process is not None:
            await self._process.end(grace_s=5)

    async def behave(self, behaviour: Behaviour) -> None:
        """Behave so from now on; returns when it does."""
        assert self._process is not None
        times = self._log.read_text().count("behaves")
        self._write(behaviour)
        os.kill(self._process.pid, signal.SIGHUP)
        await until(lambda: self._log.read_text().count("behaves") > times, "the relay behaves so")

    def faults(self, phase: str) -> int:
        """How many faults of a phase it has committed."""
        return self._log.read_text().count(f"fault {phase}\n")

    def read(self) -> list[Taken]:
        """What it took until now."""
        with self.spool.open("rb") as spool:
            spool.seek(self._read_bytes)
            lines = spool.read()
        lines = lines[: lines.rfind(b"\n") + 1]
        self._read_bytes += len(lines)
        for line in lines.splitlines():
            fields = json.loads(line)
            self.taken.append(Taken(fields["recipients"][0], fields["at"], fields["sha256"]))
        return self.taken

    def environment(self) -> dict[str, str]:
        """A sender's settings that name this relay."""
        login = {
            "MAILTOPIC_SMTP__USERNAME": USER,
            "MAILTOPIC_SMTP__PASSWORD_FILE": str(self.password_file),
        }
        return {
            "MAILTOPIC_SMTP__HOST": self.host,
            "MAILTOPIC_SMTP__PORT": str(self.port),
            "MAILTOPIC_SMTP__CA_FILE": str(self.directory / "ca.pem"),
        } | (login if self.needs_login else {})

    @property
    def password_file(self) -> Path:
        """Where senders read the password; once it is written, they log in again at once."""
        return self.directory / "password"

    @property
    def _file(self) -> Path:
        return self.directory / "behaviour.json"

    def _write(self, behaviour: Behaviour) -> None:
        part = self._file.with_suffix(".part")
        part.write_text(behaviour.as_json(), "utf-8")
        part.replace(self._file)
