"""What a signup costs, beside a bare FastAPI endpoint that checks the same body.

`PYTHONPATH=tests python -m benchmarks.signup_cost [--rounds 5] [--seconds 5] [--json FILE]`

Both are one process each, served the same way. The signup service is as in production: PostgreSQL
with fsync (and, in a run of its own, SQLite, whose commits are synchronous, too), a real Kafka to
which it publishes meanwhile, sealing, metrics and logs. Only the limits by client are off: here all
people are one client.

They take turns, in alternating order; what counts are medians, and the ratio of each round. Then
both are asked at half of what they can take, at fixed times: from that are p50 and p99. CPU is what
the kernel counts (proc(5)), of the service's process; the database's and Kafka's stand beside it.
"""

import argparse
import asyncio
import contextlib
import json
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.signup_load import Load
from mailtopic_cli.kafka_node import KafkaNode
from support.brokers import running_node
from support.conditions import until
from support.kafka_topics import create_topics
from support.ports import free_port
from support.postgresql import PostgreSQL, running_postgresql
from support.signup_process import SignupProcess

DATABASES = ("postgresql", "sqlite")
_TOPIC = "mails"
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Turn:
    """One server's turn: what was answered, and the CPU a request by who used it (µs)."""

    load: Load
    cpu_us: Mapping[str, float]


@dataclass(slots=True)
class Server:
    """Something that answers signups, and the processes whose CPU is counted."""

    port: int
    pids: Mapping[str, list[int]]

    async def turn(self, connections: int, seconds: float, rate: float | None = None) -> Turn:
        """Have people sign up for a time."""
        before = self._cpu_s()
        load = await _load(self.port, connections, seconds, rate)
        used = {who: cpu_s - before[who] for who, cpu_s in self._cpu_s().items()}
        assert not load.refused, f"{load.refused} signups were refused"
        return Turn(load, {who: cpu_s / load.answers * 1e6 for who, cpu_s in used.items()})

    def _cpu_s(self) -> dict[str, float]:
        return {who: sum(map(_cpu_s, pids)) for who, pids in self.pids.items()}


async def _load(port: int, connections: int, seconds: float, rate: float | None) -> Load:
    command = [sys.executable, "-m", "benchmarks.signup_load", str(port)]
    command += ["--connections", str(connections), "--seconds", str(seconds)]
    command += ["--rate", str(rate)] if rate else []
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0
    return Load(**json.loads(output))


def _cpu_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


@contextlib.asynccontextmanager
async def bare_endpoint() -> AsyncIterator[Server]:
    """The endpoint that does nothing but validate."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.bare_endpoint", str(port)
    )

    async def answers() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        return True

    await until(answers, "the bare endpoint listens", timeout_s=30)
    try:
        yield Server(port, {"service": [process.pid]})
    finally:
        process.terminate()
        await process.wait()


@contextlib.asynccontextmanager
async def signup_service(
    folder: Path, kafka: KafkaNode, postgresql: PostgreSQL | None
) -> AsyncIterator[Server]:
    """The signup service; with SQLite if there is no PostgreSQL."""
    database = {"DATABASE__URL": postgresql.new_database()} if postgresql else {}
    process = SignupProcess(folder, kafka.bootstrap_servers, _TOPIC, settings=database)
    await process.start()
    assert process.process
    assert kafka.pid
    pids = {"service": [process.process.pid], "kafka": [kafka.pid]}
    if postgresql:
        pids["postgresql"] = postgresql.pids
    try:
        yield Server(process.port, pids)
        await until(process.has_published_all, "every mail is in Kafka", timeout_s=120)
    finally:
        await process.stop()


async def compare(
    bare: Server, signup: Server, *, rounds: int, connections: int, seconds: float
) -> dict[str, Any]:
    """Let both have their turns; returns the figures by what they are called in the table."""
    servers = {"bare": bare, "signup": signup}
    full: dict[str, list[Turn]] = {name: [] for name in servers}
    half: dict[str, list[Turn]] = {name: [] for name in servers}
    for server in servers.values():
        await server.turn(connections, 1)  # connections, caches and prepared statements
    for number in range(rounds):
        for name in _alternating(servers, number):
            full[name].append(await servers[name].turn(connections, seconds))
    for number in range(rounds):
        for name in _alternating(servers, number):
            rate = _median(each.load.per_second for each in full[name]) / 2
            half[name].append(await servers[name].turn(connections, seconds, rate))
    ratios = [
        ours.load.per_second / theirs.load.per_second
        for ours, theirs in zip(full["signup"], full["bare"], strict=True)
    ]
    found = {name: _figures(full[name], half[name]) for name in servers}
    return {**found, "ratio": _median(ratios), "ratios": ratios}


def _alternating(names: Iterable[str], number: int) -> list[str]:
    return list(names) if number % 2 == 0 else list(names)[::-1]


def _figures(full: list[Turn], half: list[Turn]) -> dict[str, Any]:
    cpu_us = {who: _median(each.cpu_us[who] for each in full) for who in full[0].cpu_us}
    return {
        "per_second": _median(each.load.per_second for each in full),
        "half_per_second": _median(each.load.per_second for each in half),
        "half_p50_ms": _median(each.load.p50_ms for each in half),
        "half_p99_ms": _median(each.load.p99_ms for each in half),
        "cpu_us": cpu_us,
        "half_cpu_us": _median(each.cpu_us["service"] for each in half),
        "client_us": _median(each.load.client_us for each in full),
        "turns": [asdict(each) for each in full + half],
    }


def _median(values: Iterable[float]) -> float:
    return statistics.median(values)


def table(database: str, found: Mapping[str, Any]) -> str:
    """Return the figures as a table in Markdown."""
    lines = [
        f"| {database} | requests/s | CPU µs | half: p50 ms | p99 ms | SQL µs | Kafka | client |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in ("bare", "signup"):
        of = found[name]
        cpu_us = of["cpu_us"]
        lines.append(
            f"| {name} | {of['per_second']:,.0f} | {cpu_us['service']:.0f} "
            f"| {of['half_p50_ms']:.1f} | {of['half_p99_ms']:.1f} "
            f"| {cpu_us.get('postgresql', 0):.0f} | {cpu_us.get('kafka', 0):.0f} "
            f"| {of['client_us']:.0f} |"
        )
    lines.append(f"| ratio | {found['ratio']:.2f} | | | | | | |")
    return "\n".join(lines)


async def measure(
    folder: Path, kafka: KafkaNode, postgresql: PostgreSQL | None, given: argparse.Namespace
) -> dict[str, Any]:
    """Compare the two with one database."""
    async with bare_endpoint() as bare, signup_service(folder, kafka, postgresql) as signup:
        return await compare(
            bare,
            signup,
            rounds=given.rounds,
            connections=given.connections,
            seconds=given.seconds,
        )


@contextlib.contextmanager
def _kafka(folder: Path) -> Iterator[KafkaNode]:
    for node in running_node(folder, "benchmarks"):
        asyncio.run(create_topics(node.bootstrap_servers, _TOPIC, f"{_TOPIC}.status"))
        yield node


@contextlib.contextmanager
def _postgresql() -> Iterator[PostgreSQL]:
    yield from running_postgresql("benchmarks", fsync=True)


def main() -> None:
    """Compare, print the table, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--database", choices=DATABASES, action="append")
    parser.add_argument("--json", type=Path, help="where all figures go, each turn's as well")
    given = parser.parse_args()
    machine = {"cpus": os.cpu_count(), "python": platform.python_version()}
    report: dict[str, Any] = {"machine": machine}
    with tempfile.TemporaryDirectory() as name, _kafka(Path(name) / "kafka") as kafka:
        for database in given.database or DATABASES:
            folder = Path(name) / database
            folder.mkdir()
            server = _postgresql() if database == "postgresql" else contextlib.nullcontext()
            with server as postgresql:
                report[database] = asyncio.run(measure(folder, kafka, postgresql, given))
            print(table(database, report[database]), end="\n\n")  # noqa: T201 - its purpose
    if given.json:
        given.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
