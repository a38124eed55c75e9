"""What tracing and log lines cost a sender: one run, one machine, one after the other in turn.

A sender works off a topic that was filled before. The time on the wall depends on what else the
machine does; the CPU time of the sender's process hardly does, so that is what is compared.
"""

import asyncio
import os
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import pytest

from mailtopic_cli.kafka_node import KafkaNode
from support.conditions import until
from support.otlp import OtlpReceiver
from support.ports import free_port
from support.senders import Senders
from support.smtp_relay_process import RelayProcess

pytestmark = [pytest.mark.guarantees, pytest.mark.timeout(900)]

MAILS = int(os.environ.get("MAILTOPIC_COST_MAILS", "3000"))
ROUNDS = int(os.environ.get("MAILTOPIC_COST_ROUNDS", "4"))
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cost:
    cpu_ms: float
    mails_per_s: float


def cpu_s(pid: int) -> float:
    """CPU time of a process and all its threads, seconds (proc(5): utime and stime)."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


async def cost_of(directory: Path, servers: str, topic: str, settings: dict[str, str]) -> Cost:
    """Fill a topic, let one sender empty it, and return what that took for each mail."""
    relay = RelayProcess(directory / "relay")
    await relay.start()
    try:
        async with Senders(directory, servers, topic, settings) as senders:
            senders.settings |= relay.environment()
            senders.settings["MAILTOPIC_CONSUMER__SESSION_TIMEOUT_S"] = "60"
            # The first start makes the topics; and what is loaded once is not what a mail costs.
            sender = await senders.start_ready()
            await asyncio.gather(*(_send(senders, f"warm{n}@example.com") for n in range(200)))
            await until(lambda: len(relay.read()) >= 200, "the sender is warm", timeout_s=60)
            os.kill(sender.pid, 19)  # SIGSTOP: it is to find all mails waiting
            await asyncio.gather(*(_send(senders, f"user{n}@example.com") for n in range(MAILS)))
            before_s, began_s = cpu_s(sender.pid), time.monotonic()
            os.kill(sender.pid, 18)  # SIGCONT
            await until(
                lambda: len(relay.read()) >= MAILS + 200, "all are delivered", timeout_s=240
            )
            took_s, used_s = time.monotonic() - began_s, cpu_s(sender.pid) - before_s
            return Cost(1000 * used_s / MAILS, MAILS / took_s)
    finally:
        await relay.stop()


async def _send(senders: Senders, address: str) -> None:
    await senders.mails.send_code("482913", address)


async def test_what_tracing_and_log_lines_cost_for_each_mail(
    kafka: KafkaNode, topic: str, tmp_path: Path, figure: Callable[[str], None]
) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    with OtlpReceiver() as collector:
        cases = {
            "tracing off": {},
            "ratio 0.01": tracing(collector.endpoint, 0.01),
            "ratio 1.0": tracing(collector.endpoint, 1.0),
            "ratio 1.0, the collector is away": tracing(away, 1.0),
            "tracing off, no lines of outcomes": {"MAILTOPIC_LOG__LEVEL": "warning"},
        }
        costs: dict[str, list[Cost]] = defaultdict(list)
        for number in range(ROUNDS):
            # There and back, so that a machine that gets busier weighs on all alike.
            for place, name in enumerate(list(cases)[:: -1 if number % 2 else 1]):
                own, settings = f"{topic}-{number}-{place}", cases[name]
                cost = await cost_of(tmp_path / own, kafka.bootstrap_servers, own, dict(settings))
                costs[name].append(cost)
    base = median(cost.cpu_ms for cost in costs["tracing off"])
    for name, found in costs.items():
        used, rate = median(c.cpu_ms for c in found), median(c.mails_per_s for c in found)
        figure(f"{name}: {used:.2f} ms of CPU a mail ({used / base:.2f}×), {rate:.0f} mails/s")
    middle = {name: median(cost.cpu_ms for cost in found) for name, found in costs.items()}
    assert middle["ratio 0.01"] - base < 0.5 * (middle["ratio 1.0"] - base)


def tracing(endpoint: str, ratio: float) -> dict[str, str]:
    return {
        "MAILTOPIC_TRACING__ENDPOINT": endpoint,
        "MAILTOPIC_TRACING__SAMPLE_RATIO": str(ratio),
        "MAILTOPIC_TRACING__MAX_QUEUED_SPANS": "20000",
    }
