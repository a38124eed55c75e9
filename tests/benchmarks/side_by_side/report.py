"""What was found, written into docs/benchmarks.md and its pictures.

`PYTHONPATH=tests python -m benchmarks.side_by_side.report` writes them from the last run's JSON.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.side_by_side.charts import Bars, bar_chart, written
from benchmarks.side_by_side.peer_programs import PEERS
from benchmarks.side_by_side.places import RESULTS, ROOT
from benchmarks.side_by_side.results import Measured, Results
from benchmarks.side_by_side.targets import verdicts

GUIDE: Final = ROOT / "docs/benchmarks.md"
PICTURE: Final = ROOT / "docs/images/benchmark-rates.svg"
_TITLES: Final = {peer.name: peer.title for peer in PEERS.values()}


def with_section(text: str, name: str, lines: list[str]) -> str:
    """Return the guide with what is between a section's marks replaced.

    Raises:
        ValueError: the marks are not there.
    """
    between = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    if not between.search(text):
        raise ValueError(f"the guide has no marks <!-- {name} -->")
    written_lines = "\n".join(lines)
    return between.sub(lambda match: f"{match[1]}{written_lines}\n{match[2]}", text)


def section(results: Results) -> list[str]:
    """Return everything that a run found, as Markdown."""
    return [
        *_verdicts(results),
        "![Mails a second, ours and the others', by the relay's delay](images/benchmark-rates.svg)",
        "",
        *(line for delay in _delays(results) for line in _rates(results, delay)),
        *_steady(results),
        *_surroundings(results),
    ]


def picture(results: Results) -> str:
    """Return the rates as bars, a group for each delay of the relay."""
    groups = []
    for delay_ms in _delays(results):
        found = [each for each in results.measured if each.case.delay_ms == delay_ms]
        values = [(_title(each), each.mails_per_s) for each in found]
        groups.append(Bars(f"mails/s, {_relay(delay_ms)}", values, _TITLES["ours"]))
    return bar_chart(groups)


def _delays(results: Results) -> list[int]:
    return sorted({each.case.delay_ms for each in results.measured})


def _relay(delay_ms: int) -> str:
    return f"relay that takes {delay_ms} ms" if delay_ms else "relay without delay"


def _title(measured: Measured) -> str:
    case = measured.case
    title = PEERS[case.peer].title
    return title if case.connections == 32 else f"{title}, {case.connections} connections"


def _verdicts(results: Results) -> Iterator[str]:
    found = list(verdicts(results, _TITLES))
    missed = [verdict for verdict in found if not verdict.is_met]
    yield f"{len(found) - len(missed)} of {len(found)} targets are met."
    yield ""
    yield "| target | measured | |"
    yield "|---|---:|---|"
    for verdict in found:
        word = "met" if verdict.is_met else "**falls short**"
        yield f"| {verdict.asked} | {verdict.measured} | {word} |"
    yield ""


def _rates(results: Results, delay_ms: int) -> Iterator[str]:
    yield f"**{_relay(delay_ms).capitalize()}**"
    yield ""
    yield "| | mails/s | slowest … fastest round | CPU µs a mail | peak RSS MB | ours is |"
    yield "|---|---:|---:|---:|---:|---:|"
    for each in results.measured:
        if each.case.delay_ms == delay_ms:
            ours = results.of("ours", delay_ms, each.case.connections)
            ratio = f"{ours.mails_per_s / each.mails_per_s:.2f} ×" if ours else ""
            least, most = (written(rate) for rate in each.spread)
            yield (
                f"| {_title(each)} | {written(each.mails_per_s)} | {least} … {most} "
                f"| {written(each.cpu_us)} | {each.peak_rss_mb:.0f} "
                f"| {'' if each.case.peer == 'ours' else ratio} |"
            )
    yield ""


def _steady(results: Results) -> Iterator[str]:
    if not results.steady:
        return
    yield "**From accepted to the relay's 250, at half of each peer's maximum, without delay**"
    yield ""
    yield "| | mails/s | p50 | p99 |"
    yield "|---|---:|---:|---:|"
    for each in results.steady:
        kept = "" if all(run.kept_up for run in each.runs) else " (its queue grew)"
        rate = written(each.runs[0].rate_per_s)
        yield f"| {_TITLES[each.peer]} | {rate}{kept} | {_ms(each.p50_ms)} | {_ms(each.p99_ms)} |"
    yield ""


def _ms(value: float) -> str:
    return f"{value:.1f} ms" if value < 100 else f"{value:,.0f} ms"


def _surroundings(results: Results) -> Iterator[str]:
    yield "**Of this run**"
    yield ""
    yield "| | |"
    yield "|---|---|"
    yield f"| day | {results.day} |"
    for name, value in (results.machine | results.versions).items():
        yield f"| {name} | {value} |"
    for name, rate in results.ceilings.items():
        yield f"| the sink alone: {name} | {written(rate)} mails/s |"
    longest = max((each.rounds for each in results.measured), key=len)
    yield f"| rounds | {len(longest)} |"
    twice = sum(one.duplicates for each in results.measured for one in each.rounds)
    yield f"| mails that came twice | {twice} |"
    for each in results.measured:
        if each.failed:
            at = f"{_title(each)}, {_relay(each.case.delay_ms)}"
            yield f"| rounds in which mails were missing: {at} | {each.failed} |"


def write(results: Results, *, guide: Path = GUIDE, picture_file: Path = PICTURE) -> None:
    """Write both files."""
    text = with_section(guide.read_text("utf-8"), "measured", section(results))
    guide.write_text(text, "utf-8")
    picture_file.write_text(picture(results), "utf-8")


if __name__ == "__main__":
    write(Results.load(RESULTS))
