"""What metrics cost the sender: mails a second through the whole engine, with them and without.

`PYTHONPATH=tests python -m benchmarks.sender_throughput [--mails 5000] [--rounds 6]`

The engine is real; Kafka and the mailer are the shipped fakes, so that a mail costs little and the
share of metrics is the largest that there can be: with a real broker and a real relay a mail costs
several times as much. One process does both in turn, in alternating order, and what counts is its
CPU time. Other work on the machine can only slow a round down, so the best rounds are compared.
"""

import argparse
import asyncio
import gc
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest

from mailtopic_runtime import LogSettings, configure_logging
from mailtopic_sender.metrics import SenderMetrics
from support.conditions import until
from support.engines import NAMES, Engine


class _Nothing:
    """Takes every call of a metric and does nothing."""

    def labels(self, *_: str) -> "_Nothing":
        return self

    def inc(self) -> None:
        pass

    def set(self, _: float) -> None:
        pass

    def remove(self, *_: str) -> None:
        pass


class NoMetrics(SenderMetrics):
    """The engine's metrics, measuring nothing."""

    def __init__(
        self, registry: CollectorRegistry, topic: str, *, relays: Iterable[str] = ()
    ) -> None:
        super().__init__(registry, topic, relays=relays)
        nothing: Any = _Nothing()
        for name in vars(self):
            if name not in {"topic", "of_partitions", "_last_delivery_ms"}:
                setattr(self, name, nothing)
        self.of_partitions = (nothing, nothing, nothing)

    def outcome(self, outcome: str, relay: str | None) -> None:
        pass

    def delivered(
        self, seconds: float, at_ms: int, exemplar: Mapping[str, str] | None = None
    ) -> None:
        pass

    def queued(self, seconds: float) -> None:
        pass

    def attempt(self, wait_s: float, connect_s: float, transmit_s: float) -> None:
        pass

    def dead_letter(self, reason: str) -> None:
        pass

    def skipped(self, source: str) -> None:
        pass

    def rebalanced(self, consumer: str) -> None:
        pass

    def parks(self, consumer: str, records: int) -> None:
        pass

    def holds(self, consumer: str, records: int) -> None:
        pass


async def mails_per_s(metrics_type: type[SenderMetrics], mails: int) -> float:
    """Deliver so many and return how many went in a second of CPU time."""
    engine = Engine(metrics_type=metrics_type, max_in_flight=200, max_held_records=400)
    for number in range(mails):
        await engine.publish(f"user{number}@example.com")
    gc.collect()
    began_s = time.process_time()
    async with engine.running():
        await until(
            lambda: len(engine.kafka.stored(NAMES.status)) == mails, "all are done", timeout_s=300
        )
        took_s = time.process_time() - began_s
    return mails / took_s


@dataclass(frozen=True)
class Result:
    """The rounds, each with and without."""

    with_metrics: tuple[float, ...]
    without: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """Throughput with metrics to throughput without, each in its best round."""
        return max(self.with_metrics) / max(self.without)

    @property
    def cost_us(self) -> float:
        """What metrics add to a mail, microseconds of CPU time, by the best rounds."""
        return 1e6 / max(self.with_metrics) - 1e6 / max(self.without)


async def compare(mails: int, rounds: int) -> Result:
    """Measure both in each round, in alternating order."""
    taken: dict[type[SenderMetrics], list[float]] = {SenderMetrics: [], NoMetrics: []}
    order: tuple[type[SenderMetrics], ...] = (SenderMetrics, NoMetrics)
    for each in order:
        await mails_per_s(each, mails // 5)  # warm
    for _ in range(rounds):
        for each in order:
            taken[each].append(await mails_per_s(each, mails))
        order = order[::-1]
    return Result(tuple(taken[SenderMetrics]), tuple(taken[NoMetrics]))


def scrape_ms() -> tuple[float, int]:
    """Return how long an exposition takes to write, milliseconds, and its bytes."""
    engine = Engine()
    text = generate_latest(engine.registry)
    began_s = time.perf_counter()
    for _ in range(20):
        generate_latest(engine.registry)
    return (time.perf_counter() - began_s) / 20 * 1000, len(text)


def main() -> None:
    """Measure and say."""
    parser = argparse.ArgumentParser(prog="benchmarks.sender_throughput")
    parser.add_argument("--mails", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=6)
    arguments = parser.parse_args()
    configure_logging(LogSettings(level="warning"))
    result = asyncio.run(compare(arguments.mails, arguments.rounds))
    took_ms, size = scrape_ms()
    rounds = zip(result.with_metrics, result.without, strict=True)
    lines = [f"with {one:6.0f}/s  without {other:6.0f}/s" for one, other in rounds]
    lines.append(f"ratio {result.ratio:.3f}; metrics add {result.cost_us:.0f} µs to a mail")
    lines.append(f"a scrape takes {took_ms:.1f} ms and {size / 1000:.0f} kB")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
