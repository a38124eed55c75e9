"""Rounds of all cases, in alternating order; each as long as the peer's speed makes it."""

from collections.abc import Sequence

from benchmarks.side_by_side.measuring import (
    Case,
    Round,
    RoundFailed,
    Watch,
    Workshop,
    run_round,
)
from benchmarks.side_by_side.peer_programs import PEERS
from benchmarks.side_by_side.results import Measured
from benchmarks.side_by_side.tools import Report

LEAST_MAILS = 60
MOST_MAILS = 150_000


def measure(
    workshop: Workshop,
    cases: Sequence[Case],
    *,
    rounds: int,
    round_s: float,
    report: Report,
    watch: Watch = lambda _pid, _mails: None,
) -> list[Measured]:
    """Measure each case in each round; every other round goes backwards.

    Before the first round each case has one that counts for nothing: it warms up files and tells
    how many mails fill a round. A round that fails is reported and counted, and the others go on.
    """
    rates = {case: first_rate(case) for case in cases}
    found: dict[Case, list[Round]] = {case: [] for case in cases}
    failed = dict.fromkeys(cases, 0)
    for number in range(rounds + 1):
        name = f"round {number}" if number else "warm-up"
        for case in list(cases)[:: -1 if number % 2 else 1]:
            mails = _mails(rates[case], round_s if number else round_s / 2)
            try:
                one = _round(workshop, case, mails, watch)
            except RoundFailed as error:
                failed[case] += 1
                report(f"{name}: {case.peer} at {case.delay_ms} ms failed: {error}")
                continue
            rates[case] = one.mails_per_s
            if number:
                found[case].append(one)
            report(f"{name}: {line_of(case, one)}")
    return [Measured(case, taken, failed[case]) for case, taken in found.items() if taken]


def _mails(rate: float, seconds: float) -> int:
    return round(min(max(rate * seconds, LEAST_MAILS), MOST_MAILS))


def _round(workshop: Workshop, case: Case, mails: int, watch: Watch) -> Round:
    return run_round(
        workshop,
        PEERS[case.peer],
        delay_ms=case.delay_ms,
        mails=mails,
        connections=case.connections,
        watch=watch,
    )


def first_rate(case: Case) -> float:
    """Return the speed that is reckoned with before anything was measured."""
    rates = PEERS[case.peer].rates
    return rates.get(case.delay_ms, min(rates.values())) * (
        case.connections / 32 if PEERS[case.peer].chooses_connections and case.delay_ms else 1
    )


def line_of(case: Case, one: Round) -> str:
    """Return a round as a line for people who wait."""
    copies = f", {one.duplicates} twice" if one.duplicates else ""
    return (
        f"{case.peer:<12} {case.delay_ms:>2} ms ×{case.connections:<3} {one.mails_per_s:8.0f}/s"
        f" {one.cpu_us:7.0f} µs {one.peak_rss_mb:5.0f} MB  ({one.mails} mails of {one.octets:.0f}"
        f" octets, {one.opened} connections{copies})"
    )
