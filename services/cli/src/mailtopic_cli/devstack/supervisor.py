"""Keeps one process running: starts it, reports its end in one line, restarts it."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from mailtopic_cli.children import Child
from mailtopic_cli.devstack.errors import DevstackError
from mailtopic_cli.devstack.run_file import ProcessEntry
from mailtopic_cli.devstack.services import Service
from mailtopic_cli.kafka_node import KafkaNode, KafkaNodeError

_EXIT_CONFIG = 2
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 15.0
_STABLE_AFTER_S = 30.0
_STOP_GRACE_S = 40.0
_TRIES_UNTIL_READY = 4


class Runner(Protocol):
    """A process that can be restarted."""

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""

    async def start(self) -> None:
        """Start it. Raises KafkaNodeError if it ended at once; does not promise readiness."""

    async def wait(self) -> int:
        """Wait for its end; return the exit code (negative: a signal)."""

    async def stop(self) -> None:
        """Ask it to end; kill it if it takes too long."""

    def last_words(self) -> str:
        """The last line that it wrote."""


class ServiceRunner:
    """A service of MailTopic as a child process."""

    def __init__(self, service: Service, environment: Mapping[str, str], log: Path) -> None:
        self._service, self._log = service, log
        self._environment = {**environment, **service.env}
        self._child: Child | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        child = self._child
        return child.pid if child and child.exit_code is None else None

    async def start(self) -> None:
        """Start it; returns at once."""
        command = self._service.full_command()
        folder = self._log.parent
        self._child = Child(command, log_file=self._log, env=self._environment, cwd=folder)

    async def wait(self) -> int:
        """Wait for its end; return the exit code."""
        if self._child is None:
            raise DevstackError(f"{self._service.name} was never started")
        return await self._child.wait()

    async def stop(self) -> None:
        """Ask it to end: a sender finishes the mails in flight first."""
        if self._child:
            await self._child.end(grace_s=_STOP_GRACE_S)

    def last_words(self) -> str:
        """The last line of its log."""
        try:
            lines = self._log.read_text("utf-8", errors="replace").splitlines()
        except OSError:
            return ""
        return lines[-1] if lines else ""


class KafkaRunner:
    """The broker, which is ready once it has started."""

    def __init__(self, node: KafkaNode, progress: Callable[[str], None]) -> None:
        self._node, self._progress = node, progress

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._node.pid

    async def start(self) -> None:
        """Start it and wait until it answers."""
        await self._node.start(self._progress)

    async def wait(self) -> int:
        """Wait for its end; return the exit code."""
        return await self._node.wait()

    async def stop(self) -> None:
        """Stop it in good order."""
        await self._node.stop()

    def last_words(self) -> str:
        """Its last error."""
        return self._node.last_error()


class Supervisor:
    """Runs one process until `stop`; `changed` is called whenever its entry has changed.

    `keep_running` ends with DevstackError when starting again is pointless: the process says
    that its settings are bad, or it ended several times before it was ever ready. Everything else
    is tried again, with growing pauses.
    """

    def __init__(
        self,
        name: str,
        runner: Runner,
        entry: ProcessEntry,
        *,
        say: Callable[[str], None],
        changed: Callable[[], None],
    ) -> None:
        self.name, self.entry = name, entry
        self._runner, self._say, self._changed = runner, say, changed
        self._stopping = asyncio.Event()
        self._was_ready = False

    @property
    def pid(self) -> int | None:
        """The process id while the process runs, from its first moment on."""
        return self._runner.pid

    async def keep_running(self) -> None:
        """Start the process, and restart it after each end, until `stop`."""
        ends_in_a_row = 0
        while not self._stopping.is_set():
            started_s = time.monotonic()
            problem = await self._run_once()
            if self._stopping.is_set():
                return
            stable = time.monotonic() - started_s > _STABLE_AFTER_S
            ends_in_a_row = 1 if stable else ends_in_a_row + 1
            pause_s = min(_FIRST_PAUSE_S * 2 ** (ends_in_a_row - 1), _LONGEST_PAUSE_S)
            if not self._was_ready and ends_in_a_row == _TRIES_UNTIL_READY:
                raise DevstackError(f"{self.name} {problem}, {ends_in_a_row} times in a row")
            self._say(f"{self.name} {problem}; starting it again in {pause_s:g} s")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_s)
            self.entry.restarts += 1

    def ready(self) -> None:
        """Mark the process as ready once: from now on it is always restarted."""
        self._was_ready = True

    async def stop(self) -> None:
        """Stop the process for good."""
        self._stopping.set()
        await self._runner.stop()

    async def _run_once(self) -> str:
        try:
            await self._runner.start()
        except KafkaNodeError as error:
            return f"did not start: {error}"
        self.entry.pid = self._runner.pid
        self.entry.started_at_ms = time.time_ns() // 1_000_000
        self._changed()
        code = await self._runner.wait()
        self.entry.pid = None
        self._changed()
        if code == _EXIT_CONFIG and not self._stopping.is_set():
            raise DevstackError(
                f"{self.name} cannot run: {self._runner.last_words()} (log: {self.entry.log})"
            )
        return f"ended ({_in_words(code, self._runner)}, log: {self.entry.log})"


def _in_words(code: int, runner: Runner) -> str:
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}: {runner.last_words()}"
