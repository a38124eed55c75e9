"""What was asked of the sender, and whether this run shows it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from benchmarks.side_by_side.results import Results

RATIOS: Final = {
    "original": 100.0,
    "nodemailer": 10.0,
    "faststream": 12.0,
    "aiosmtplib": 4.0,
    "prototype": 0.8,
}
"""How many times as fast ours is to be, with a relay that replies at once."""
LEAST_SHARE: Final = 0.95
"""Of what so many connections can do with a relay that takes 50 ms."""
MOST_P99_MS: Final = 50.0
MOST_RSS_MB: Final = 120.0
_SLOW_MS: Final = 50


@dataclass(frozen=True, slots=True)
class Verdict:
    """One thing that was asked."""

    asked: str
    measured: str
    is_met: bool


def verdicts(results: Results, titles: dict[str, str]) -> Iterator[Verdict]:
    """Yield what can be said about this run; what it left out is left out here, too."""
    ours = results.of("ours", 0)
    if ours is not None:
        for peer, least in RATIOS.items():
            other = results.of(peer, 0)
            if other is not None:
                ratio = ours.mails_per_s / other.mails_per_s
                asked = f"≥ {least:g} × {titles[peer]}, relay without delay"
                yield Verdict(asked, f"{ratio:.2f} ×", ratio >= least)
    for connections in (32, 128):
        slow = results.of("ours", _SLOW_MS, connections)
        if slow is not None:
            share = slow.mails_per_s / (connections * 1000 / _SLOW_MS)
            asked = f"≥ {LEAST_SHARE:g} of {connections} connections ÷ {_SLOW_MS} ms"
            yield Verdict(asked, f"{share:.3f}", share >= LEAST_SHARE)
    for steady in results.steady:
        if steady.peer == "ours":
            p99_ms = steady.p99_ms
            asked = f"accepted → 250, p99 ≤ {MOST_P99_MS:g} ms at half of the maximum"
            yield Verdict(asked, f"{p99_ms:.1f} ms", p99_ms <= MOST_P99_MS)
    peaks = [each.peak_rss_mb for each in results.measured if each.case.peer == "ours"]
    if peaks:
        asked = f"peak resident memory ≤ {MOST_RSS_MB:g} MB"
        yield Verdict(asked, f"{max(peaks):.0f} MB", max(peaks) <= MOST_RSS_MB)
