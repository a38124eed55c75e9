"""What tracing and log lines cost a sender: `PYTHONPATH=tests python -m benchmarks.tracing_cost`.

A sender works off a topic that was filled before, with a real Kafka, TLS and SMTP. The time on the
wall depends on what else the machine does; the CPU time of the sender's process hardly does, so
that is what is compared: in one run, one case after the other, there and back. `--write` puts the
table into docs/guides/tracing.md, with a digest of the code that it measures; a test says when the
code has changed since.
"""

import argparse
import ast
import asyncio
import contextlib
import hashlib
import os
import re
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from support.brokers import running_node
from support.conditions import until
from support.otlp import OtlpReceiver
from support.ports import free_port
from support.senders import Senders
from support.smtp_relay_process import RelayProcess

ROOT: Final = Path(__file__).parents[2]
GUIDE: Final = ROOT / "docs" / "guides" / "tracing.md"
MEASURED: Final = (
    "services/runtime/src/mailtopic_runtime/tracing.py",
    "services/runtime/src/mailtopic_runtime/tracing_otel.py",
    "services/sender/src/mailtopic_sender/engine/express.py",
    "services/sender/src/mailtopic_sender/engine/telling.py",
)
"""What decides about spans and lines of a mail: the table is as old as these files."""
_BLOCK = re.compile(r"<!-- benchmarks.tracing_cost (\w+) -->\n.*?<!-- end -->\n", re.DOTALL)
_OFF = "off"
_WARM = 200
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cost:
    cpu_ms: float
    mails_per_s: float


def cpu_s(pid: int) -> float:
    """CPU time of a process and all its threads, seconds (proc(5): utime and stime)."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


async def cost_of(
    directory: Path, servers: str, settings: Mapping[str, str], *, mails: int
) -> Cost:
    """Fill a topic, let one sender empty it, and return what that took for each mail."""
    relay = RelayProcess(directory / "relay")
    await relay.start()
    try:
        async with Senders(directory, servers, directory.name, dict(settings)) as senders:
            senders.settings |= relay.environment()
            senders.settings["MAILTOPIC_CONSUMER__SESSION_TIMEOUT_S"] = "60"
            # The first start makes the topics; and what is loaded once is not what a mail costs.
            sender = await senders.start_ready()
            await asyncio.gather(*(_send(senders, f"warm{n}@example.com") for n in range(_WARM)))
            await until(lambda: len(relay.read()) >= _WARM, "the sender is warm", timeout_s=60)
            os.kill(sender.pid, signal.SIGSTOP)  # it is to find all mails waiting
            await asyncio.gather(*(_send(senders, f"user{n}@example.com") for n in range(mails)))
            before_s, began_s = cpu_s(sender.pid), time.monotonic()
            os.kill(sender.pid, signal.SIGCONT)
            await until(
                lambda: len(relay.read()) >= mails + _WARM, "all are delivered", timeout_s=240
            )
            took_s, used_s = time.monotonic() - began_s, cpu_s(sender.pid) - before_s
            return Cost(1000 * used_s / mails, mails / took_s)
    finally:
        await relay.stop()


async def _send(senders: Senders, address: str) -> None:
    await senders.mails.send_code("482913", address)


async def compare(folder: Path, servers: str, *, mails: int, rounds: int) -> dict[str, Cost]:
    """Return the median of each case; the machine's pace weighs on all alike."""
    costs: dict[str, list[Cost]] = defaultdict(list)
    with OtlpReceiver() as collector:
        cases = {
            _OFF: {},
            "ratio 0.01": tracing(collector.endpoint, 0.01),
            "ratio 0.1": tracing(collector.endpoint, 0.1),
            "ratio 1.0": tracing(collector.endpoint, 1.0),
            "ratio 1.0, the collector is down": tracing(f"http://127.0.0.1:{free_port()}", 1.0),
            "off, and `MAILTOPIC_LOG__LEVEL=warning`": {"MAILTOPIC_LOG__LEVEL": "warning"},
        }
        for number in range(rounds):
            for place, name in enumerate(list(cases)[:: -1 if number % 2 else 1]):
                own = Path(tempfile.mkdtemp(prefix=f"tracing-{number}-{place}-", dir=folder))
                cost = await cost_of(own, servers, cases[name], mails=mails)
                sys.stderr.write(f"round {number + 1} of {rounds}, {name}: {cost.cpu_ms:.3f} ms\n")
                costs[name].append(cost)
    return {
        name: Cost(median(c.cpu_ms for c in found), median(c.mails_per_s for c in found))
        for name, found in costs.items()
    }


def tracing(endpoint: str, ratio: float) -> dict[str, str]:
    """Return the settings of a sender that records so many of its mails."""
    return {
        "MAILTOPIC_TRACING__ENDPOINT": endpoint,
        "MAILTOPIC_TRACING__SAMPLE_RATIO": str(ratio),
        "MAILTOPIC_TRACING__MAX_QUEUED_SPANS": "20000",
    }


def table(costs: Mapping[str, Cost]) -> str:
    """Return the costs beside those without tracing, as Markdown."""
    base_ms = costs[_OFF].cpu_ms
    rows = [
        f"| {name} | {cost.cpu_ms:.2f} ms | {cost.cpu_ms / base_ms:.2f} × |"
        f" {cost.mails_per_s:,.0f} |"
        for name, cost in costs.items()
    ]
    return "\n".join(["| | CPU for a mail | | mails/s |", "|---|---|---|---|", *rows])


def digest() -> str:
    """Return a digest of the measured code, without its comments and docstrings."""
    found = hashlib.sha256()
    for name in MEASURED:
        tree = ast.parse((ROOT / name).read_bytes())
        for node in ast.walk(tree):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                node.value.value = None
        found.update(ast.dump(tree).encode())
    return found.hexdigest()[:16]


def written_digest() -> str:
    """Return the digest beside the guide's table."""
    found = _BLOCK.search(GUIDE.read_text())
    assert found is not None, f"{GUIDE} has no table"
    return found[1]


def write(text: str) -> None:
    """Put a table into the guide."""
    block = f"<!-- benchmarks.tracing_cost {digest()} -->\n{text}\n<!-- end -->\n"
    GUIDE.write_text(_BLOCK.sub(lambda _: block, GUIDE.read_text()))


def main() -> None:
    """Measure, print, and write if that is wanted."""
    parser = argparse.ArgumentParser(prog="benchmarks.tracing_cost")
    parser.add_argument("--mails", type=int, default=10_000, help="mails a case and round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="put the table into the guide")
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.contextmanager(running_node)(Path(folder) / "kafka", "benchmarks") as node,
    ):
        costs = asyncio.run(
            compare(Path(folder), node.bootstrap_servers, mails=given.mails, rounds=given.rounds)
        )
    sys.stdout.write(table(costs) + "\n")
    if given.write:
        write(table(costs))


if __name__ == "__main__":
    main()
