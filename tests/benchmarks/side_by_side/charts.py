"""Charts as SVG, light and plain: bars that lie, and lines over steps that are not numbers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

_FONT = 'font-family="DejaVu Sans, sans-serif" font-size="12"'
_OURS, _OTHERS, _GRID = "#1f77b4", "#b9c3cd", "#dddddd"
_LABEL, _BAR, _VALUE = 330, 360, 90
_ROW, _HEAD, _GAP = 22, 30, 18
_PANEL = (300, 170)
_MARGIN = (64, 46)


@dataclass(frozen=True, slots=True)
class Bars:
    """A group of bars under a title; one of them is ours."""

    title: str
    values: Sequence[tuple[str, float]]
    ours: str


def bar_chart(groups: Sequence[Bars]) -> str:
    """Return the groups one below the other, each on a scale of its own that begins at 0."""
    height = sum(_HEAD + _ROW * len(group.values) + _GAP for group in groups)
    parts: list[str] = []
    top = 0
    for group in groups:
        parts += _bars(group, top)
        top += _HEAD + _ROW * len(group.values) + _GAP
    return _svg(_LABEL + _BAR + _VALUE, height, parts)


def _bars(group: Bars, top: int) -> Iterator[str]:
    yield _text(8, top + 20, group.title, bold=True)
    most = max(value for _, value in group.values)
    for at, (name, value) in enumerate(group.values):
        y = top + _HEAD + at * _ROW
        width = max(value / most * _BAR, 1)
        colour = _OURS if name == group.ours else _OTHERS
        yield _text(_LABEL - 8, y + 14, name, anchor="end")
        yield f'<rect x="{_LABEL}" y="{y + 3}" width="{width:.1f}" height="15" fill="{colour}"/>'
        yield _text(_LABEL + width + 6, y + 14, written(value))


@dataclass(frozen=True, slots=True)
class Line:
    """Values over steps, such as 1, 10 and 100 kB."""

    title: str
    steps: Sequence[str]
    values: Sequence[float]


def line_charts(lines: Sequence[Line], *, columns: int = 2) -> str:
    """Return panels side by side, each on a scale of its own that begins at 0."""
    rows = -(-len(lines) // columns)
    wide, high = _PANEL[0] + _MARGIN[0] + 24, _PANEL[1] + 2 * _MARGIN[1]
    parts = [
        part
        for at, line in enumerate(lines)
        for part in _panel(line, at % columns * wide + _MARGIN[0], at // columns * high + 40)
    ]
    return _svg(wide * columns, high * rows, parts)


def _panel(line: Line, x: int, y: int) -> Iterator[str]:
    wide, high = _PANEL
    top = rounded_up(max(line.values))
    yield _text(x, y - 12, line.title, bold=True)
    for part in (0, 0.5, 1):
        level = y + high * (1 - part)
        yield f'<path d="M{x} {level}h{wide}" stroke="{_GRID}"/>'
        yield _text(x - 6, level + 4, written(top * part), anchor="end")
    places = [x + wide * (at + 0.5) / len(line.steps) for at in range(len(line.steps))]
    points = [
        (place, y + high * (1 - value / top))
        for place, value in zip(places, line.values, strict=True)
    ]
    path = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
    yield f'<polyline points="{path}" fill="none" stroke="{_OURS}" stroke-width="2"/>'
    for (px, py), step in zip(points, line.steps, strict=True):
        yield f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3.5" fill="{_OURS}"/>'
        yield _text(px, y + high + 18, step, anchor="middle")


def rounded_up(value: float) -> float:
    """Return the end of an axis whose middle is a round number as well."""
    power = 1.0
    while power * 10 <= value:
        power *= 10
    return next(power * factor for factor in (1, 2, 4, 6, 8, 10) if power * factor >= value)


def written(value: float) -> str:
    """Return a number as people read it: three digits that count, thousands set apart."""
    return f"{value:,.0f}" if value >= 10 or value == 0 else f"{value:.2g}"


def _text(x: float, y: float, text: str, *, anchor: str = "start", bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}"{weight}>{escape(text)}</text>'


def _svg(width: int, height: int, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {_FONT}>'
    back = f'<rect width="{width}" height="{height}" fill="#ffffff"/>'
    return "\n".join([head, back, *parts, "</svg>"]) + "\n"
