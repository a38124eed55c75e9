"""What `autoscaling` found, as the table and the picture of docs/guides/autoscaling.md.

`PYTHONPATH=tests python -m benchmarks.autoscaling_report` writes both anew.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks.autoscaling import BURST_FROM_S, BURST_S, SCENES, SLO_S, Run, runs

_ROOT: Final = Path(__file__).parents[2]
GUIDE: Final = _ROOT / "docs/guides/autoscaling.md"
PICTURE: Final = _ROOT / "docs/images/autoscaling.svg"
_BETWEEN: Final = re.compile(r"(<!-- simulated -->\n).*?(<!-- /simulated -->)", re.DOTALL)

_COLOURS: Final = {
    "fixed, 2 senders": "#7f7f7f",
    "records, target 30 s": "#1f77b4",
    "records, target 10 s": "#2ca02c",
    "lag seconds, target 10 s": "#d62728",
}
_PANEL: Final = (340, 150)
_MARGIN: Final = (52, 64)
_GAP: Final = (56, 52)
_SHOWN_S: Final = 1200
_STEP_S: Final = 5
_FONT: Final = 'font-family="DejaVu Sans, sans-serif" font-size="11"'

Found = Mapping[str, Sequence[Run]]
"""The runs of each scene."""


def found() -> Found:
    """Run the simulation."""
    return {scene.title: runs(scene) for scene in SCENES}


def tables(results: Found) -> str:
    """Return a Markdown table for each scene."""
    return "\n".join(line for title, scene in results.items() for line in _table(title, scene))


def _table(title: str, scene: Sequence[Run]) -> Iterator[str]:
    yield f"**{title}**"
    yield ""
    heads = ("senders by", f"within {SLO_S} s", "slowest mail", "most senders", "sender minutes")
    yield f"| {' | '.join(heads)} | changes |"
    yield "|---|---:|---:|---:|---:|---:|"
    for run in scene:
        yield (
            f"| {run.name} | {run.in_time:.1%} | {run.worst_s} s | {max(run.replicas)} "
            f"| {run.sender_minutes:.0f} | {run.changes} |"
        )
    yield ""


def picture(results: Found) -> str:
    """Return an SVG: lag above, senders below, a column for each scene."""
    width = _MARGIN[0] * 2 + len(results) * _PANEL[0] + (len(results) - 1) * _GAP[0]
    height = _MARGIN[1] + 2 * _PANEL[1] + _GAP[1] + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {_FONT}>',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for at, (name, colour) in enumerate(_COLOURS.items()):
        x = _MARGIN[0] + at * 190
        parts.append(f'<path d="M{x} 18h22" stroke="{colour}" stroke-width="2.5"/>')
        parts.append(f'<text x="{x + 28}" y="22">{name}</text>')
    for column, (title, scene) in enumerate(results.items()):
        x = _MARGIN[0] + column * (_PANEL[0] + _GAP[0])
        shown = [run for run in scene if run.name in _COLOURS]
        parts.append(f'<text x="{x}" y="{_MARGIN[1] - 22}" font-weight="bold">{title}</text>')
        parts += _panel(x, _MARGIN[1], "lag, s", {run.name: run.lag_s for run in shown})
        below = _MARGIN[1] + _PANEL[1] + _GAP[1]
        parts += _panel(x, below, "senders", {run.name: run.replicas for run in shown})
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def _panel(x: int, y: int, title: str, lines: Mapping[str, Sequence[int]]) -> Iterator[str]:
    wide, high = _PANEL
    top = _top(max(max(values[:_SHOWN_S]) for values in lines.values()))
    begins, lasts = wide * BURST_FROM_S / _SHOWN_S, wide * BURST_S / _SHOWN_S
    box = f'y="{y}" height="{high}"'
    yield f'<rect x="{x + begins:.0f}" {box} width="{lasts:.0f}" fill="#f3ead2"/>'
    yield f'<rect x="{x}" {box} width="{wide}" fill="none" stroke="#999999"/>'
    yield f'<text x="{x}" y="{y - 5}">{title}</text>'
    for part in (0, 0.5, 1):
        level = y + high * (1 - part)
        yield f'<text x="{x - 6}" y="{level + 4:.0f}" text-anchor="end">{top * part:.0f}</text>'
    for minute in range(0, _SHOWN_S // 60 + 1, 5):
        at = x + wide * minute * 60 / _SHOWN_S
        yield f'<text x="{at:.0f}" y="{y + high + 14}" text-anchor="middle">{minute} min</text>'
    if title.startswith("lag") and top > SLO_S:
        level = y + high * (1 - SLO_S / top)
        yield f'<path d="M{x} {level:.1f}h{wide}" stroke="#333333" stroke-dasharray="4 4"/>'
    for name, values in lines.items():
        points = " ".join(
            f"{x + wide * second / _SHOWN_S:.1f},{y + high * (1 - values[second] / top):.1f}"
            for second in range(0, _SHOWN_S, _STEP_S)
        )
        yield (
            f'<polyline points="{points}" fill="none" stroke="{_COLOURS[name]}" stroke-width="2"/>'
        )


def _top(largest: int) -> int:
    """Return the end of an axis whose middle is a round number as well."""
    return next(end for end in (4, 8, 16, 40, 100, 200, 400, 1000, 2000) if end >= largest)


def guide_with(text: str, results: Found) -> str:
    """Return the guide with the tables in their place."""
    return _BETWEEN.sub(lambda match: f"{match[1]}{tables(results)}{match[2]}", text)


def main() -> None:
    """Write both."""
    results = found()
    GUIDE.write_text(guide_with(GUIDE.read_text("utf-8"), results), "utf-8")
    PICTURE.write_text(picture(results), "utf-8")


if __name__ == "__main__":
    main()
