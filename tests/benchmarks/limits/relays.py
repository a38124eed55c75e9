"""The relay of a run: limits of `benchmarks.pace` behind real sockets, or Debian's Postfix.

`python -m benchmarks.limits.relays` is the first of them as a process; `OurRelay` starts it.
"""

import argparse
import asyncio
import os
import re
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from benchmarks.limits.journal import Journal, Taken, refused_line, taken_line
from benchmarks.limits.trials import Trial, trials
from benchmarks.pace.models import Connection, Model, Offered
from mailtopic_cli.children import Child
from support.conditions import until
from support.mail_servers.postfix import Postfix
from support.ports import free_port
from support.smtp_relay import Fault, ReceivedMail, SmtpRelay, server_context_in
from support.smtp_relay_process import TESTS

_PHASES = {"body": "dot"}
"""The test relay's name for a phase, where the models have another one."""
_LIMIT_EXCEEDED = re.compile(r"^(\w+ +\d+ [\d:]+) .* limit exceeded: ", re.MULTILINE)


class Relay(Protocol):
    """A relay that runs."""

    port: int
    ca_file: Path

    async def start(self) -> None:
        """Return when it listens."""
        ...

    async def kill(self) -> None:
        """End it, if it runs."""
        ...

    def journal(self) -> Journal:
        """Return what happened, after its end."""
        ...


def relay_of(trial: Trial, directory: Path) -> Relay:
    """Return the trial's relay; it isn't running yet."""
    if trial.limits is not None:
        return PostfixRelay(directory, trial.limits)
    return OurRelay(directory, trial)


class OurRelay:
    """A process, as everything else of a run is one."""

    def __init__(self, directory: Path, trial: Trial) -> None:
        self.port = free_port()
        self.ca_file = directory / "ca.pem"
        self._journal = directory / "journal"
        self._log = directory / "relay.log"
        self._directory = directory
        self._trial = trial
        self._process: Child | None = None

    async def start(self) -> None:
        """Return when it listens."""
        options = ("--port", self.port, "--directory", self._directory, "--name", self._trial.name)
        times = ("--learning-s", self._trial.learning_s, "--measured-s", self._trial.measured_s)
        command = (sys.executable, "-m", "benchmarks.limits.relays", *options, *times)
        self._process = Child(
            [str(part) for part in command],
            log_file=self._log,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(TESTS)},
            cwd=self._directory,
        )
        await until(lambda: "listening" in self._log.read_text(), "the relay listens")

    async def kill(self) -> None:
        """End it, if it runs."""
        if self._process is not None:
            await self._process.end(grace_s=10)

    def journal(self) -> Journal:
        """Return what happened, after its end."""
        with self._journal.open() as lines:
            return Journal.of(lines)


class PostfixRelay(Postfix):
    """Debian's Postfix with limits on its clients; it delivers to a mailbox."""

    def journal(self) -> Journal:
        """Return what happened: mailbox and log tell."""
        taken = [
            Taken.of(recipient, path.stat().st_mtime)
            for path in self.inside.mails.glob("new/*")
            if (recipient := _delivered_to(path))
        ]
        return Journal(sorted(taken), _refused_at_s(self.told))


def _delivered_to(path: Path) -> str:
    with path.open("rb") as lines:
        for line in lines:
            name, _, value = line.partition(b":")
            if name == b"Delivered-To":
                return value.strip().decode()
    return ""


def _refused_at_s(log: str) -> list[float]:
    year = time.localtime().tm_year
    return [
        time.mktime(time.strptime(f"{year} {found[1]}", "%Y %b %d %H:%M:%S"))
        for found in _LIMIT_EXCEEDED.finditer(log)
    ]


class _LimitedRelay(SmtpRelay):
    """The test relay, which commits the faults that models name, and writes a journal."""

    def __init__(self, models: Sequence[Model], directory: Path, port: int) -> None:
        super().__init__(port=port, tls=server_context_in(directory), keep=False)
        self._models = models
        self._connections: defaultdict[int, Connection] = defaultdict(Connection)
        self._journal = (directory / "journal").open("w")
        self._began_s: float | None = None

    def due_fault(self, phase: str, recipients: list[str], connection: int) -> Fault | None:
        now_s = time.monotonic()
        if phase == "connect":
            reply = self._connected()
        else:
            self._began_s = now_s if self._began_s is None else self._began_s
            # At MAIL the recipient isn't known yet, and no limit that speaks then asks for it.
            number = Taken.of(recipients[0], 0).number if recipients else 0
            mail = Offered(now_s - self._began_s, self._connections[connection], number)
            reply = self._offered(phase, mail)
        if reply is None:
            return None
        self._journal.write(refused_line(time.time()))
        return Fault(phase, reply=reply)

    def _connected(self) -> str | None:
        # The new one is among the links.
        replies = (model.connect(len(self.links) - 1) for model in self._models)
        return next((reply.line for reply in replies if reply is not None), None)

    def _offered(self, phase: str, mail: Offered) -> str | None:
        for model in self._models:
            asked_at = _PHASES.get(model.reply.phase, model.reply.phase)
            if asked_at == phase and (reply := model.offer(mail)) is not None:
                return reply.line
        if phase == "mail":
            mail.connection.mails += 1
        return None

    def accept(self, mail: ReceivedMail) -> None:
        self._journal.write(taken_line(mail.recipients[0], mail.received_at))

    def close_journal(self) -> None:
        self._journal.close()


async def _serve(arguments: argparse.Namespace) -> None:
    found = trials(arguments.learning_s, arguments.measured_s)
    trial = next(each for each in found if each.name == arguments.name)
    relay = _LimitedRelay(trial.scenario.models(), arguments.directory, arguments.port)
    relay.delay_s = {"dot": trial.answer_s}
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with relay:
        print("listening", flush=True)  # noqa: T201 - its interface
        await stopped.wait()
    relay.close_journal()


if __name__ == "__main__":
    _parser = argparse.ArgumentParser("benchmarks.limits.relays")
    _parser.add_argument("--port", type=int, required=True)
    _parser.add_argument("--directory", type=Path, required=True)
    _parser.add_argument("--name", required=True)
    _parser.add_argument("--learning-s", type=int, required=True)
    _parser.add_argument("--measured-s", type=int, required=True)
    asyncio.run(_serve(_parser.parse_args()))
