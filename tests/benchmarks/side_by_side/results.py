"""What a run found, as JSON, and its medians."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Self

from benchmarks.side_by_side.latency import Latency
from benchmarks.side_by_side.measuring import Case, Round


@dataclass(frozen=True, slots=True)
class Measured:
    """The rounds of one case; failed: how many more there were, in which mails were missing."""

    case: Case
    rounds: Sequence[Round]
    failed: int = 0

    @property
    def mails_per_s(self) -> float:
        """The median round's."""
        return median(one.mails_per_s for one in self.rounds)

    @property
    def spread(self) -> tuple[float, float]:
        """The slowest and the fastest round's mails a second."""
        rates = [one.mails_per_s for one in self.rounds]
        return min(rates), max(rates)

    @property
    def cpu_us(self) -> float:
        """Microseconds of processor time for a mail, the median round's."""
        return median(one.cpu_us for one in self.rounds)

    @property
    def peak_rss_mb(self) -> float:
        """The largest of all rounds."""
        return max(one.peak_rss_mb for one in self.rounds)


@dataclass(frozen=True, slots=True)
class Steady:
    """A peer's runs at half of its maximum."""

    peer: str
    runs: Sequence[Latency]

    @property
    def p50_ms(self) -> float:
        """The median run's."""
        return median(run.p50_ms for run in self.runs)

    @property
    def p99_ms(self) -> float:
        """The median run's."""
        return median(run.p99_ms for run in self.runs)


@dataclass(frozen=True, slots=True)
class Results:
    """A whole run."""

    day: str
    machine: dict[str, str]
    versions: dict[str, str]
    ceilings: dict[str, float]
    measured: Sequence[Measured]
    steady: Sequence[Steady] = field(default=())

    def of(self, peer: str, delay_ms: int, connections: int = 32) -> Measured | None:
        """Return what was measured of a case; None: nothing."""
        case = Case(peer, delay_ms, connections)
        return next((each for each in self.measured if each.case == case), None)

    def save(self, path: Path) -> None:
        """Write it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n", "utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
        measured = [
            Measured(Case(**each["case"]), [Round(**one) for one in each["rounds"]], each["failed"])
            for each in found.pop("measured")
        ]
        steady = [
            Steady(each["peer"], [Latency(**run) for run in each["runs"]])
            for each in found.pop("steady")
        ]
        return cls(**found, measured=measured, steady=steady)
