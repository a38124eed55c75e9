"""What bends the curve: our sender's rate and cost, one thing changed at a time.

`PYTHONPATH=tests python -m benchmarks.side_by_side.curves [--million] [--quick]`
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from benchmarks.side_by_side.curves_report import write
from benchmarks.side_by_side.measuring import Round, Workshop, run_round
from benchmarks.side_by_side.peer_programs import PEERS
from benchmarks.side_by_side.places import CURVES
from benchmarks.side_by_side.workshop import opened

_OURS: Final = PEERS["ours"]
_MIDDLE_MAILS: Final = 10_000
_LEAST_MAILS: Final = 1000
_SLOW_MS: Final = 50
_BARE_OCTETS: Final = 800
"""Of a mail without filler: its header and the borders of its parts."""


@dataclass(frozen=True, slots=True)
class Point:
    """One setting of everything."""

    step: str
    mails: int = _MIDDLE_MAILS
    octets: int = 0
    partitions: int = 4
    senders: int = 1
    connections: int = 32
    delay_ms: float = 0
    keys: int | None = None


@dataclass(frozen=True, slots=True)
class Curve:
    """Points that differ in one thing."""

    title: str
    points: Sequence[Point]


def curves(*, with_million: bool) -> Iterator[Curve]:
    """Yield what is to be measured."""
    backlogs = {"1,000": 1000, "10,000": 10_000, "100,000": 100_000}
    if with_million:
        backlogs["1,000,000"] = 1_000_000
    yield Curve("backlog, mails", [Point(step, mails) for step, mails in backlogs.items()])
    sizes = ((1, 10_000), (10, 5000), (100, 1000))
    yield Curve(
        "size of a mail",
        [Point(f"{size} kB", mails, octets=size * 1000) for size, mails in sizes],
    )
    yield Curve("partitions", [Point(str(count), partitions=count) for count in (1, 4, 12, 48)])
    # Ten connections are what a sender has by default, so that eight don't need all processors.
    middle = Point("", partitions=24, connections=10, delay_ms=_SLOW_MS)
    yield Curve(
        "senders, relay that takes 50 ms",
        [
            replace(middle, step=str(count), senders=count, mails=count * 1000)
            for count in (1, 2, 4, 8)
        ],
    )
    keys: dict[str, tuple[int | None, int]] = {
        "1": (1, 500),
        "10": (10, 3000),
        "1,000": (1000, 10_000),
        "all differ": (None, 10_000),
    }
    yield Curve(
        "recipients' keys, relay that takes 5 ms",
        [Point(step, mails, delay_ms=5, keys=count) for step, (count, mails) in keys.items()],
    )


def measure_point(workshop: Workshop, point: Point, *, share: float) -> Round:
    """Measure one point; share is how many of its mails are sent."""
    workshop.maker = replace(workshop.maker, keys=point.keys, made={})
    workshop.settings.clear()
    if point.octets:
        directory = _templates(workshop.directory / f"templates-{point.octets}", point.octets)
        workshop.settings["MAILTOPIC_TEMPLATE__DIRECTORY"] = str(directory)
    return run_round(
        workshop,
        _OURS,
        delay_ms=point.delay_ms,
        mails=max(round(point.mails * share), min(point.mails, _LEAST_MAILS)),
        connections=point.connections,
        partitions=point.partitions,
        senders=point.senders,
    )


def _templates(directory: Path, octets: int) -> Path:
    """Write a template whose mails have about so many octets, half of them in each part."""
    # Quoted-printable breaks a line after 75 octets by three more (RFC 2045 §6.7).
    filler = "x" * round(max(octets - _BARE_OCTETS, 0) / 2 * 75 / 78)
    directory.mkdir(exist_ok=True)
    parts = {"subject": "Code", "text": f"{{code}} {filler}", "html": f"<p>{{code}} {filler}</p>"}
    for name, text in parts.items():
        (directory / f"signup.ru.{name}").write_text(text)
    return directory


def main() -> None:
    """Measure, say and write."""
    parser = argparse.ArgumentParser("benchmarks.side_by_side.curves", description=__doc__)
    parser.add_argument("--million", action="store_true", help="a backlog of a million, too")
    parser.add_argument("--quick", action="store_true", help="a fifth of the mails, no result")
    arguments = parser.parse_args()
    began_s = time.monotonic()

    def report(text: str) -> None:
        sys.stdout.write(f"{time.monotonic() - began_s:6.1f} s  {text}\n")
        sys.stdout.flush()

    found = []
    with opened([_OURS], report) as workshop:
        measure_point(workshop, Point("warm-up"), share=0.2)
        for curve in curves(with_million=arguments.million):
            rounds = {}
            for point in curve.points:
                one = measure_point(workshop, point, share=0.2 if arguments.quick else 1)
                rounds[point.step] = one
                report(
                    f"{curve.title} {point.step:>10}: {one.mails_per_s:7.0f}/s"
                    f" {one.cpu_us:6.0f} µs {one.peak_rss_mb:4.0f} MB, {one.octets:.0f} octets"
                )
            found.append({"title": curve.title, "points": _as_json(rounds)})
    if not arguments.quick:
        CURVES.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
        write(found)
        report("docs/benchmarks.md and its picture are written")


def _as_json(rounds: Mapping[str, Round]) -> dict[str, dict[str, float]]:
    return {step: asdict(one) for step, one in rounds.items()}


if __name__ == "__main__":
    main()
