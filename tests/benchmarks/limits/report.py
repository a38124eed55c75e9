"""What was found as Markdown."""

from collections.abc import Iterator, Sequence
from typing import Final

from benchmarks.limits.runs import Run
from benchmarks.limits.senders import KINDS
from benchmarks.limits.trials import Trial

_LEAST_OFFERED: Final = 0.95


def section(trials: Sequence[Trial], runs: Sequence[Run], machine: dict[str, str]) -> list[str]:
    """Return a table, a relay after the other, and what it was measured on."""
    return [
        "| relay | | taken ÷ limit | refusals a mail | wait p50 | p95 | |",
        "|---|---|---:|---:|---:|---:|---|",
        *(line for trial in trials for line in _rows(trial, runs)),
        "",
        "Measured on: " + "; ".join(f"{name} {value}" for name, value in machine.items()) + ".",
    ]


def _rows(trial: Trial, runs: Sequence[Run]) -> Iterator[str]:
    of_trial = {run.kind: run for run in runs if run.trial == trial.name}
    name = trial.name
    for kind in KINDS.values():
        if (run := of_trial.get(kind.name)) is None:
            continue
        found = run.found
        notes = "; ".join(_notes(run))
        yield (
            f"| {name} | {kind.title} | {found.taken:.2f} | {found.refusals:.3f} "
            f"| {_seconds(found.wait_p50_s)} | {_seconds(found.wait_p95_s)} | {notes} |"
        )
        name = ""


def _notes(run: Run) -> Iterator[str]:
    if run.given_up:
        yield f"{run.given_up:,} given up"
    if run.found.copies:
        yield f"{run.found.copies} second copies"
    if run.offered < _LEAST_OFFERED:
        yield f"only {run.offered:.0%} of the load could be given to it"


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value < 10 else f"{value:.0f} s"
