"""`mailtopic up`: starts the whole pipeline, keeps it running, stops it cleanly."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mailtopic_cli.certificates import ensure_certificates
from mailtopic_cli.children import resident_mb
from mailtopic_cli.devstack.console import Console
from mailtopic_cli.devstack.errors import DevstackError
from mailtopic_cli.devstack.keys import ensure_keys
from mailtopic_cli.devstack.ports import Ports, check_ports
from mailtopic_cli.devstack.probe import not_ready
from mailtopic_cli.devstack.run_file import ProcessEntry, RunFile, urls
from mailtopic_cli.devstack.services import base_environment, services
from mailtopic_cli.devstack.state_dir import StateDir
from mailtopic_cli.devstack.supervisor import KafkaRunner, Runner, ServiceRunner, Supervisor
from mailtopic_cli.kafka_distribution import DistributionError
from mailtopic_cli.kafka_node import KafkaNode, fetch_class_path

_READY_TIMEOUT_S = 120.0
_POLL_S = 0.2
_KAFKA = "kafka"
_INBOX = "inbox"
_EXIT_KILLED = 130


@dataclass(frozen=True, slots=True)
class UpOptions:
    """The options of the command line."""

    data_dir: Path
    ports: Ports
    fresh: bool = False


async def up(options: UpOptions, console: Console) -> int:
    """Run the pipeline until SIGINT, SIGTERM or SIGHUP.

    Returns:
        0, after everything has been stopped.

    Raises:
        BadStart: nothing was started.
        DevstackError: something cannot run; what ran has been stopped.
    """
    started_s = time.monotonic()
    state = StateDir(options.data_dir)
    with state.in_use(fresh=options.fresh):
        check_ports(options.ports)
        state.run_file.unlink(missing_ok=True)  # of a devstack that was killed
        signals = _Signals()
        if await _prepared(state, console, signals.stopping):
            await _Devstack(state, options.ports, console, started_s).run(signals)
    console.say("Stopped.")
    return 0


async def _prepared(state: StateDir, console: Console, stopping: asyncio.Event) -> bool:
    """Fetch and make what is missing; False if a signal came first."""
    preparing = asyncio.create_task(_prepare(state, console))
    stop = asyncio.create_task(stopping.wait())
    try:
        await _first_of(preparing, stop)
    except DistributionError as error:
        raise DevstackError(str(error)) from None
    finally:
        await _cancel(preparing, stop)
    return not stopping.is_set()


async def _prepare(state: StateDir, console: Console) -> None:
    console.progress("Checking the files of Apache Kafka")
    await fetch_class_path(console.progress)
    await asyncio.to_thread(ensure_keys, state)
    await asyncio.to_thread(ensure_certificates, state.inbox)


class _Devstack:
    def __init__(self, state: StateDir, ports: Ports, console: Console, started_s: float) -> None:
        self._state, self._ports, self._console = state, ports, console
        self._started_s = started_s
        now_ms = time.time_ns() // 1_000_000
        self._run_file = RunFile(state, ports, os.getpid(), now_ms)
        self._supervisors = {s.name: s for s in (self._kafka(), *self._services())}

    async def run(self, signals: "_Signals") -> None:
        """Start everything, wait for the first signal, stop everything."""
        signals.on_second = self._kill
        self._run_file.save()
        running = [asyncio.create_task(s.keep_running()) for s in self._supervisors.values()]
        ready = asyncio.create_task(self._until_ready())
        stop = asyncio.create_task(signals.stopping.wait())
        try:
            await _first_of(stop, ready, *running)
            if ready.done():
                self._announce()
                await _first_of(stop, *running)
        finally:
            await _cancel(stop, ready)
            self._console.progress("Stopping")
            await self._stop()
            await _cancel(*running)
            self._run_file.remove()

    def _kafka(self) -> Supervisor:
        node = KafkaNode(
            self._state.kafka,
            port=self._ports.kafka,
            controller_port=self._ports.controller,
            log_dir=self._state.logs,
            # All senders start at once. Without this pause the first one would take every
            # partition, and the others wait for its next heartbeat (3 s) to get their share.
            properties={"group.initial.rebalance.delay.ms": "500"},
        )
        return self._supervisor(_KAFKA, KafkaRunner(node, lambda _: None), None)

    def _services(self) -> list[Supervisor]:
        environment = base_environment()
        return [
            self._supervisor(
                service.name,
                ServiceRunner(service, environment, self._state.log(service.name)),
                service.ready_url,
            )
            for service in services(self._state, self._ports)
        ]

    def _supervisor(self, name: str, runner: Runner, ready_url: str | None) -> Supervisor:
        entry = ProcessEntry(str(self._state.log(name)), ready_url)
        self._run_file.processes[name] = entry
        return Supervisor(name, runner, entry, say=self._console.say, changed=self._run_file.save)

    async def _until_ready(self) -> None:
        deadline_s = time.monotonic() + _READY_TIMEOUT_S
        waiting = dict.fromkeys(self._supervisors, "is starting")
        while waiting:
            if time.monotonic() > deadline_s:
                name, reason = next(iter(waiting.items()))
                log = self._run_file.processes[name].log
                raise DevstackError(f"{name} is not ready: {reason} (log: {log})")
            self._console.progress(f"Starting: waiting for {', '.join(waiting)}")
            await asyncio.sleep(_POLL_S)
            for name in list(waiting):
                problem = await self._not_ready(name)
                if problem is None:
                    del waiting[name]
                    self._supervisors[name].ready()
                else:
                    waiting[name] = problem

    async def _not_ready(self, name: str) -> str | None:
        entry = self._run_file.processes[name]
        if entry.pid is None:
            return "is starting"
        return await not_ready(entry.ready_url) if entry.ready_url else None

    def _announce(self) -> None:
        took_s = time.monotonic() - self._started_s
        self._run_file.ready_at_ms = time.time_ns() // 1_000_000
        self._run_file.save()
        self._console.quiet()
        links = urls(self._ports)
        metrics = [url for name, url in links.items() if name.endswith("metrics")]
        lines = [
            f"MailTopic is ready after {took_s:.1f} s.",
            f"  Sign up        {links['signup']}",
            f"  Read mail      {links['inbox']}",
            f"  Metrics        {metrics[0]}",
            *(f"                 {url}" for url in metrics[1:]),
            f"  Kafka, SMTP    127.0.0.1:{self._ports.kafka}, 127.0.0.1:{self._ports.smtp}",
            f"  Memory         {self._memory()}",
            f"  Data and logs  {self._state.path}",
            "Ctrl-C stops it and keeps the data.",
        ]
        self._console.say("\n".join(lines))

    def _memory(self) -> str:
        pids = {"mailtopic": os.getpid()}
        pids |= {n: e.pid for n, e in self._run_file.processes.items() if e.pid is not None}
        used = {name: resident_mb(pid) or 0.0 for name, pid in pids.items()}
        each = ", ".join(f"{name} {mb:.0f}" for name, mb in used.items())
        return f"{sum(used.values()):.0f} MB ({each})"

    def _kill(self) -> None:
        for supervisor in self._supervisors.values():
            if supervisor.pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(supervisor.pid, signal.SIGKILL)

    async def _stop(self) -> None:
        """Publishers and senders first, then the services that they need to finish."""
        last = {_KAFKA, _INBOX}
        first = [s.stop() for n, s in self._supervisors.items() if n not in last]
        await asyncio.gather(*first)
        await asyncio.gather(*(s.stop() for n, s in self._supervisors.items() if n in last))


class _Signals:
    """The first SIGINT, SIGTERM or SIGHUP sets `stopping`; the second calls `on_second`."""

    def __init__(self) -> None:
        self.stopping = asyncio.Event()
        self.on_second: Callable[[], None] = _exit_at_once
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(signum, self._on_signal)

    def _on_signal(self) -> None:
        if self.stopping.is_set():
            self.on_second()
        self.stopping.set()


def _exit_at_once() -> None:
    os._exit(_EXIT_KILLED)


async def _first_of(*tasks: "asyncio.Task[Any]") -> None:
    """Wait until one of the tasks is done; raise what a task that is done raised."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()


async def _cancel(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel the tasks and wait for their ends."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
