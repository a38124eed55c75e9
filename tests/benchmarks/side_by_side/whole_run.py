"""The whole comparison: the sink's own limit, then the rounds, then latencies at half load."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from benchmarks.side_by_side.ceiling import ceilings
from benchmarks.side_by_side.latency import Latency, run_steady
from benchmarks.side_by_side.machine import shape, versions
from benchmarks.side_by_side.measuring import Case, Watch, Workshop
from benchmarks.side_by_side.peer_programs import PEERS
from benchmarks.side_by_side.results import Measured, Results, Steady
from benchmarks.side_by_side.rounds import measure
from benchmarks.side_by_side.tools import Report


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is measured.

    Attributes:
        wide: how many connections those who choose them use once more with the slowest relay;
            None: nobody does.
        steady_runs: how often each peer's latency is measured.
    """

    peers: Sequence[str]
    delays_ms: Sequence[int]
    connections: int = 32
    wide: int | None = 128
    rounds: int = 5
    round_s: float = 4.0
    steady_runs: int = 3
    steady_s: float = 5.0

    def cases(self) -> list[Case]:
        """Return all cases, those of one delay beside each other."""
        found = [
            Case(peer, delay_ms, self.connections)
            for delay_ms in self.delays_ms
            for peer in self.peers
        ]
        if self.wide is not None and len(self.delays_ms) > 1:
            wide = [name for name in self.peers if name in {"prototype", "ours"}]
            found += [Case(name, max(self.delays_ms), self.wide) for name in wide]
        return found


def run_whole(workshop: Workshop, extent: Extent, *, report: Report, watch: Watch) -> Results:
    """Measure all of it."""
    machine = shape()
    found = ceilings(workshop, report, rounds=min(extent.rounds, 3))
    measured = measure(
        workshop,
        extent.cases(),
        rounds=extent.rounds,
        round_s=extent.round_s,
        report=report,
        watch=watch,
    )
    at_once = [each for each in measured if each.case.delay_ms == 0]
    return Results(
        day=datetime.now(UTC).date().isoformat(),
        machine=machine,
        versions=versions(workshop.runtimes),
        ceilings=found,
        measured=measured,
        steady=_steady(workshop, extent, at_once, report),
    )


def _steady(
    workshop: Workshop, extent: Extent, at_once: Sequence[Measured], report: Report
) -> list[Steady]:
    runs: dict[str, list[Latency]] = {each.case.peer: [] for each in at_once}
    for number in range(extent.steady_runs):
        for each in list(at_once)[:: -1 if number % 2 else 1]:
            name = each.case.peer
            one = run_steady(
                workshop,
                PEERS[name],
                rate_per_s=each.mails_per_s / 2,
                seconds=extent.steady_s,
                connections=each.case.connections,
            )
            runs[name].append(one)
            report(
                f"steady {number + 1}: {name:<12} {one.rate_per_s:6.0f}/s"
                f"  p50 {one.p50_ms:.1f} ms  p99 {one.p99_ms:.1f} ms"
            )
    return [Steady(name, found) for name, found in runs.items() if found]
