"""What `curves` found, written into docs/benchmarks.md and its picture.

`PYTHONPATH=tests python -m benchmarks.side_by_side.curves_report` writes them from the last run's
JSON.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.side_by_side.charts import Line, line_charts, written
from benchmarks.side_by_side.places import CURVES, ROOT
from benchmarks.side_by_side.report import GUIDE, with_section

PICTURE: Final = ROOT / "docs/images/benchmark-curves.svg"
Found = Sequence[dict[str, Any]]
"""For each curve its title, and its points: a round for each step."""


def section(found: Found) -> list[str]:
    """Return a table for each curve, as Markdown."""
    return [
        *(line for curve in found for line in _table(curve)),
        "![Mails a second by backlog, size, partitions, senders](images/benchmark-curves.svg)",
    ]


def _table(curve: dict[str, Any]) -> Iterator[str]:
    yield f"| {curve['title']} | mails/s | CPU µs a mail | peak RSS MB | octets a mail |"
    yield "|---|---:|---:|---:|---:|"
    for step, one in curve["points"].items():
        yield (
            f"| {step} | {written(one['mails_per_s'])} | {written(one['cpu_us'])} "
            f"| {one['peak_rss_mb']:.0f} | {written(one['octets'])} |"
        )
    yield ""


def picture(found: Found) -> str:
    """Return mails a second over each curve's steps."""
    return line_charts(
        [
            Line(
                f"mails/s by {curve['title']}",
                list(curve["points"]),
                [one["mails_per_s"] for one in curve["points"].values()],
            )
            for curve in found
        ]
    )


def write(found: Found, *, guide: Path = GUIDE, picture_file: Path = PICTURE) -> None:
    """Write both files."""
    guide.write_text(with_section(guide.read_text("utf-8"), "curves", section(found)), "utf-8")
    picture_file.write_text(picture(found), "utf-8")


if __name__ == "__main__":
    write(json.loads(CURVES.read_text("utf-8")))
