"""`mailtopic status`: what runs, since when, and whether it is ready."""

import time
from dataclasses import asdict, dataclass
from typing import Any

from mailtopic_cli.children import resident_mb
from mailtopic_cli.devstack.probe import not_ready
from mailtopic_cli.devstack.run_file import read_run_file
from mailtopic_cli.devstack.state_dir import StateDir
from mailtopic_cli.kafka_node import broker_answers


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """One process now. `problem` is None when it is ready; `uptime_s` None when it is down."""

    name: str
    pid: int | None
    problem: str | None
    uptime_s: float | None
    restarts: int
    memory_mb: float | None
    log: str


@dataclass(frozen=True, slots=True)
class DevstackStatus:
    """The whole devstack now; `running` is false when none runs on `data_dir`."""

    data_dir: str
    running: bool
    ready: bool
    uptime_s: float | None
    urls: dict[str, str]
    processes: list[ProcessStatus]

    def document(self) -> dict[str, Any]:
        """The status as a JSON object."""
        return asdict(self)

    def lines(self) -> list[str]:
        """The status as text."""
        if not self.running:
            return [f"Nothing runs on {self.data_dir}: start it with mailtopic up."]
        if not self.processes:
            return [f"MailTopic is being started on {self.data_dir}."]
        shown = [f"MailTopic runs for {_duration(self.uptime_s)} on {self.data_dir}"]
        shown += [_line(process) for process in self.processes]
        shown += [f"  {name:<18} {url}" for name, url in self.urls.items()]
        return shown


async def read_status(state: StateDir) -> DevstackStatus:
    """Look at the devstack of `state` and ask each of its processes."""
    run = read_run_file(state.run_file) if state.is_in_use() else None
    if run is None:
        return DevstackStatus(str(state.path), state.is_in_use(), False, None, {}, [])
    found = [await _process(n, e, run["kafka"]) for n, e in run["processes"].items()]
    ready = all(process.problem is None for process in found)
    uptime_s = _since(run["started_at_ms"])
    return DevstackStatus(str(state.path), True, ready, uptime_s, run["urls"], found)


async def _process(name: str, entry: dict[str, Any], kafka: str) -> ProcessStatus:
    pid = entry["pid"]
    return ProcessStatus(
        name=name,
        pid=pid,
        problem=await _problem(pid, entry["ready_url"], kafka),
        uptime_s=_since(entry["started_at_ms"]) if pid else None,
        restarts=entry["restarts"],
        memory_mb=resident_mb(pid) if pid else None,
        log=entry["log"],
    )


async def _problem(pid: int | None, ready_url: str | None, kafka: str) -> str | None:
    if pid is None:
        return "is down, will be started again"
    if ready_url:
        return await not_ready(ready_url)
    host, _, port = kafka.rpartition(":")
    return None if await broker_answers(host, int(port)) else "does not answer"


def _since(at_ms: int | None) -> float | None:
    return None if at_ms is None else max(0.0, time.time() - at_ms / 1000)


def _line(process: ProcessStatus) -> str:
    state = "ready" if process.problem is None else f"not ready: {process.problem}"
    parts = [f"  {process.name:<10} {state:<8}"]
    if process.pid:
        parts.append(f"pid {process.pid}, for {_duration(process.uptime_s)}")
    if process.memory_mb is not None:
        parts.append(f"{process.memory_mb:.0f} MB")
    if process.restarts:
        parts.append(f"started again {process.restarts} times")
    return ", ".join(parts)


def _duration(seconds: float | None) -> str:
    whole = int(seconds or 0)
    hours, minutes = whole // 3600, whole // 60 % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"
