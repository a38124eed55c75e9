"""How much of a relay's limit is taken, ours beside what people use, over real sockets.

`PYTHONPATH=tests python -m benchmarks.limits --help`
"""

import argparse
import asyncio
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from benchmarks.limits.report import section
from benchmarks.limits.runs import Room, Run, ordered, run
from benchmarks.limits.senders import KINDS, PEERS, PEERS_MADE, Kind, Place
from benchmarks.limits.trials import Trial, trials
from benchmarks.side_by_side.machine import shape
from benchmarks.side_by_side.places import MADE
from benchmarks.side_by_side.report import GUIDE, with_section
from benchmarks.side_by_side.tools import Report, node, redis
from benchmarks.side_by_side.topics import Topics
from mailtopic_cli.children import Child
from mailtopic_cli.kafka_node import KafkaNode
from support.conditions import until
from support.mail_servers import packages
from support.ports import free_port, free_ports

_RUNS: Final = MADE / "limits"
_RESULTS: Final = MADE / "limits.json"
_MOST_IN_QUICK: Final = 250
"""Mails a second: what offers more is left out of a quick run."""
_ROOM_PER_CORE: Final = 250
"""Mails a second that runs beside each other may offer without any of them lacking a processor."""
_QUICK_S: Final = (20, 30)
_WHOLE_S: Final = (30, 60)


def main() -> None:
    """Measure and print; a run of everything is written into docs/benchmarks.md."""
    arguments = _arguments()
    began_s = time.monotonic()

    def report(text: str) -> None:
        sys.stdout.write(f"{time.monotonic() - began_s:6.1f} s  {text}\n")
        sys.stdout.flush()

    learning_s, measured_s = _QUICK_S if arguments.quick else _WHOLE_S
    found = trials(learning_s, arguments.measured_s or measured_s)
    chosen = [trial for trial in found if all(name in trial.name for name in arguments.names)]
    if arguments.quick and not arguments.names:
        chosen = [each for each in chosen if each.scenario.offered_per_s <= _MOST_IN_QUICK]
    if not chosen:
        sys.exit(f"no such relay; there are: {'; '.join(trial.name for trial in found)}")
    kinds = _possible([KINDS[name] for name in arguments.kinds], report)
    if packages.problem():
        chosen = [trial for trial in chosen if trial.limits is None]
    machine = shape()
    runs = asyncio.run(_all(chosen, kinds, report))
    lines = section(chosen, runs, machine)
    sys.stdout.write("\n".join(lines) + "\n")
    _RESULTS.write_text(json.dumps([each.as_dict() for each in runs], indent=1))
    if len(chosen) == len(found) and len(kinds) == len(KINDS) and not arguments.quick:
        GUIDE.write_text(with_section(GUIDE.read_text("utf-8"), "limits", lines), "utf-8")
        report("docs/benchmarks.md is written")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "benchmarks.limits",
        description="Senders beside relays that allow only so much: what is taken of the limit, "
        "refusals a mail, and how long mails waited.",
        epilog="A run of everything is written into docs/benchmarks.md.",
    )
    parser.add_argument("names", nargs="*", help="only relays with all of these in their name")
    parser.add_argument("--kinds", type=_kinds, default=list(KINDS), help=", ".join(KINDS))
    parser.add_argument("--measured-s", type=int, help="after 30 s of learning: 60")
    parser.add_argument("--quick", action="store_true", help="20 s and 30 s, no large loads")
    return parser.parse_args()


def _kinds(text: str) -> list[str]:
    names = text.split(",")
    if strange := set(names) - KINDS.keys():
        raise argparse.ArgumentTypeError(f"no such sender: {', '.join(sorted(strange))}")
    return names


def _possible(kinds: Sequence[Kind], report: Report) -> list[Kind]:
    """Return those that can run here; Postfix needs Debian's servers (`make mail-servers`)."""
    problem = packages.problem()
    if problem:
        report(f"Postfix is left out: {problem}")
    return [kind for kind in kinds if not (problem and kind.needs_postfix)]


async def _all(chosen: Sequence[Trial], kinds: Sequence[Kind], report: Report) -> list[Run]:
    shutil.rmtree(_RUNS, ignore_errors=True)
    _RUNS.mkdir(parents=True)
    room = Room(_ROOM_PER_CORE * len(os.sched_getaffinity(0)))
    starting = asyncio.Lock()
    runs: list[Run] = []

    async def one(trial: Trial, kind: Kind, place: Place) -> None:
        async with room.of(trial.scenario.offered_per_s):
            place.directory.mkdir()
            try:
                done = await run(trial, kind, place, starting)
            except Exception as error:  # noqa: BLE001 - the other runs go on
                report(f"{trial.name}: {kind.title}: failed: {error!r}; see {place.directory}")
                return
        if done is not None:
            runs.append(done)
            report(
                f"{trial.name}: {kind.title}: {done.found.taken:.2f} of the limit, "
                f"{done.found.refusals:.3f} refusals a mail"
            )

    # What was started ends also if this process is told to.
    everything = asyncio.current_task()
    assert everything is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, everything.cancel)
    pairs = [(trial, kind) for trial in ordered(chosen) for kind in kinds]
    async with (
        _services(kinds, report) as (topics, redis_port, node_program),
        asyncio.TaskGroup() as tasks,
    ):
        for number, (trial, kind) in enumerate(pairs):
            directory = _RUNS / f"{number}-{kind.name}"
            place = Place(directory, topics, redis_port, node_program)
            tasks.create_task(one(trial, kind, place))
    return runs


@asynccontextmanager
async def _services(
    kinds: Sequence[Kind], report: Report
) -> AsyncIterator[tuple[Topics, int, Path | None]]:
    """Kafka; and Redis and Node.js with its packages, if they are needed."""
    port, controller_port = free_ports(2)
    broker = KafkaNode(_RUNS / "kafka", port=port, controller_port=controller_port)
    redis_port, queue, program = 0, None, None
    if any(kind.needs_redis for kind in kinds):
        program = node(report, PEERS, PEERS_MADE)
        redis_port = free_port()
        queue = Child(
            [str(redis(report)), "--port", str(redis_port), "--bind", "127.0.0.1"],
            log_file=_RUNS / "redis.log",
            env={"PATH": os.environ["PATH"]},
            cwd=_RUNS,
        )
        log = _RUNS / "redis.log"
        await until(lambda: "Ready to accept" in log.read_text(), "Redis is ready")
    await broker.start(report)
    try:
        yield Topics(broker.bootstrap_servers), redis_port, program
    finally:
        await broker.stop()
        if queue is not None:
            await queue.end(grace_s=10)


if __name__ == "__main__":
    main()
