"""Courses over time as SVG: lines, stacks, heat and bands."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from support.drawing.palette import FAINT, LINE, TEXT
from support.drawing.units import written
from support.prometheus import Series

_BOTTOM = 24
_TOP = 6
_RIGHT = 10
_CHARACTER = 7.2
_NICE_TIMES_S = (15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 86_400.0, math.inf)


@dataclass(frozen=True, slots=True)
class Frame:
    """A plot's place and scales; times are Unix times in seconds, sizes pixels."""

    width: float
    height: float
    start_s: float
    end_s: float
    most: float
    left: float = 62

    def x(self, at_s: float) -> float:
        """Where a time is."""
        share = (at_s - self.start_s) / (self.end_s - self.start_s)
        return self.left + share * (self.width - self.left - _RIGHT)

    def y(self, value: float) -> float:
        """Where a value is."""
        return self.height - _BOTTOM - value / self.most * (self.height - _BOTTOM - _TOP)


@dataclass(frozen=True, slots=True)
class Curve:
    """A named series as it is drawn."""

    name: str
    points: Sequence[tuple[float, float]]
    color: str
    is_dashed: bool = False
    is_stacked: bool = False
    is_bars: bool = False


def nice_end(value: float, unit: str) -> tuple[float, float]:
    """Return an axis' end at or above a value, and the step of its ticks."""
    if value <= 0:
        return 1.0, 0.5
    if unit == "s" and value > 60:
        step = next(each for each in _NICE_TIMES_S if value / each <= 5)
        return math.ceil(value / step) * step, step
    step = 10.0 ** math.floor(math.log10(value / 4))
    step *= next(factor for factor in (1, 2, 2.5, 5, 10) if value / (step * factor) <= 5)
    return math.ceil(value / step - 1e-9) * step, step


def ticks(most: float, step: float, unit: str) -> list[tuple[float, str]]:
    """Return the values beside an axis, with their texts."""
    count = round(most / step)
    return [(place * step, written(place * step, unit)) for place in range(count + 1)]


def width_of(texts: Sequence[str]) -> float:
    """Return how much room the longest of some texts needs beside an axis."""
    return max((len(text) for text in texts), default=0) * _CHARACTER + 12


def axes(frame: Frame, labels: Sequence[tuple[float, str]]) -> str:
    """Return the grid with its labels."""
    parts = []
    for value, text in labels:
        y = frame.y(value)
        parts.append(_line(frame.left, y, frame.width - _RIGHT, y, LINE))
        parts.append(_text(frame.left - 6, y + 4, text, anchor="end"))
    return "".join(parts) + time_axis(frame)


def time_axis(frame: Frame) -> str:
    """Return the times under a plot."""
    span_s = frame.end_s - frame.start_s
    step_s = next((s for s in (10, 15, 30, 60, 120, 300, 600) if span_s / s <= 6), 1800)
    form = "%H:%M" if step_s >= 60 else "%H:%M:%S"
    parts = []
    at_s = math.ceil(frame.start_s / step_s) * step_s
    while at_s <= frame.end_s:
        x = frame.x(at_s)
        parts.append(_line(x, _TOP, x, frame.height - _BOTTOM, LINE))
        label = time.strftime(form, time.gmtime(at_s))
        x = min(max(x, frame.left + 18), frame.width - 26)
        parts.append(_text(x, frame.height - 5, label, anchor="middle"))
        at_s += step_s
    return "".join(parts)


def curves(frame: Frame, drawn: Sequence[Curve], step_s: float) -> str:
    """Return the lines, stacked ones upon each other."""
    parts = []
    floor: dict[float, float] = {}
    for curve in drawn:
        if curve.is_stacked:
            below = dict(floor)
            tops = [(at, below.get(at, 0.0) + value) for at, value in curve.points]
            floor.update(tops)
            if curve.is_bars:
                parts += [
                    _bar(frame, at, below.get(at, 0.0), top, curve.color, step_s=step_s)
                    for at, top in tops
                ]
                continue
            for piece in _pieces(tops, step_s):
                parts.append(_area(frame, piece, below, curve.color, 0.45))
                parts.append(_path(frame, piece, curve))
        else:
            for piece in _pieces(curve.points, step_s):
                if not curve.is_dashed:
                    parts.append(_area(frame, piece, {}, curve.color, 0.08))
                parts.append(_path(frame, piece, curve))
    return "".join(parts)


def limits(frame: Frame, steps: Mapping[float, str]) -> str:
    """Return thresholds as dashed lines, those that the axis reaches."""
    return "".join(
        _line(frame.left, frame.y(value), frame.width - _RIGHT, frame.y(value), color, dash="6 5")
        for value, color in steps.items()
        if 0 < value <= frame.most
    )


def heat(frame: Frame, buckets: Sequence[Series], step_s: float, unit: str) -> str:
    """Return the cells of a histogram's buckets, brighter with more observations."""
    ordered = sorted(buckets, key=lambda each: float(each.labels["le"]))
    counts: list[dict[float, float]] = []
    below: dict[float, float] = {}
    for bucket in ordered:
        own = {at: value - below.get(at, 0.0) for at, value in bucket.points}
        counts.append(own)
        below = dict(bucket.points)
    used = [place for place, own in enumerate(counts) if max(own.values(), default=0) > 1e-9]
    if not used:
        return time_axis(frame)
    first, last = max(used[0] - 1, 0), used[-1]
    shown = counts[first : last + 1]
    most = max(value for own in shown for value in own.values())
    height = (frame.height - _BOTTOM - _TOP) / len(shown)
    parts = [time_axis(frame)]
    for place, own in enumerate(shown):
        y = frame.height - _BOTTOM - (place + 1) * height
        end = float(ordered[first + place].labels["le"])
        label = "more" if math.isinf(end) else written(end, unit)
        if len(shown) <= 9 or place % 2 == 0:
            parts.append(_text(frame.left - 6, y + 5, label, anchor="end"))
        parts += [
            _cell(frame, at, y, height, share=value / most, step_s=step_s)
            for at, value in own.items()
        ]
    return "".join(parts)


def bands(frame: Frame, rows: Sequence[tuple[str, Series]], colors: Mapping[str, str]) -> str:
    """Return a band for each series, colored by its values."""
    height = (frame.height - _BOTTOM - _TOP) / max(len(rows), 1)
    parts = [time_axis(frame)]
    for place, (name, series) in enumerate(rows):
        y = _TOP + place * height + height * 0.35
        parts.append(_text(frame.left, y - 4, name, anchor="start", color=TEXT))
        for (start, value), (end, _) in zip(series.points, series.points[1:], strict=False):
            color = colors.get(f"{value:g}", FAINT)
            x, until = frame.x(start), frame.x(end)
            parts.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{until - x + 0.3:.1f}" '
                f'height="{height * 0.55:.1f}" fill="{color}" fill-opacity="0.8"/>'
            )
    return "".join(parts)


def spark(points: Sequence[tuple[float, float]], width: float, height: float, color: str) -> str:
    """Return a small course without axes, for below a number."""
    known = [(at, value) for at, value in points if not math.isnan(value)]
    if len(known) < 2:
        return ""
    low, high = min(v for _, v in known), max(v for _, v in known)
    span = (high - low) or 1.0
    start_s, end_s = known[0][0], known[-1][0]
    place = [
        ((at - start_s) / (end_s - start_s) * width, height - 2 - (v - low) / span * (height - 6))
        for at, v in known
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in place)
    return (
        f'<polygon points="0,{height} {line} {width},{height}" fill="{color}" fill-opacity="0.15"/>'
        f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="1.4"/>'
    )


def _pieces(
    points: Sequence[tuple[float, float]], step_s: float
) -> list[list[tuple[float, float]]]:
    pieces: list[list[tuple[float, float]]] = []
    last_s = -math.inf
    for at_s, value in points:
        if math.isnan(value) or math.isinf(value):
            continue
        if at_s - last_s > step_s * 1.5:
            pieces.append([])
        pieces[-1].append((at_s, value))
        last_s = at_s
    return pieces


def _path(frame: Frame, piece: Sequence[tuple[float, float]], curve: Curve) -> str:
    dash = ' stroke-dasharray="8 6"' if curve.is_dashed else ""
    if len(piece) == 1:
        x, y = frame.x(piece[0][0]), frame.y(piece[0][1])
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" fill="{curve.color}"/>'
    line = " ".join(f"{frame.x(at):.1f},{frame.y(value):.1f}" for at, value in piece)
    return (
        f'<polyline points="{line}" fill="none" stroke="{curve.color}" stroke-width="1.5"'
        f' stroke-linejoin="round"{dash}/>'
    )


def _area(
    frame: Frame,
    piece: Sequence[tuple[float, float]],
    below: Mapping[float, float],
    color: str,
    opacity: float,
) -> str:
    tops = [f"{frame.x(at):.1f},{frame.y(value):.1f}" for at, value in piece]
    floor = [f"{frame.x(at):.1f},{frame.y(below.get(at, 0.0)):.1f}" for at, _ in reversed(piece)]
    return f'<polygon points="{" ".join(tops + floor)}" fill="{color}" fill-opacity="{opacity}"/>'


def _bar(frame: Frame, at_s: float, low: float, high: float, color: str, *, step_s: float) -> str:
    x = frame.x(at_s - step_s * 0.45)
    width = max(frame.x(at_s + step_s * 0.45) - x, 0.8)
    height = frame.y(low) - frame.y(high)
    return (
        f'<rect x="{x:.1f}" y="{frame.y(high):.1f}" width="{width:.1f}" height="{height:.1f}"'
        f' fill="{color}" fill-opacity="0.8"/>'
    )


def _cell(
    frame: Frame, at_s: float, y: float, height: float, *, share: float, step_s: float
) -> str:
    if not share > 0.001:
        return ""
    x = frame.x(at_s - step_s / 2)
    width = max(frame.x(at_s + step_s / 2) - x - 0.5, 0.5)
    opacity = 0.15 + 0.85 * math.sqrt(share)
    return (
        f'<rect x="{x:.1f}" y="{y + 0.5:.1f}" width="{width:.1f}" height="{height - 1:.1f}"'
        f' fill="#ff9830" fill-opacity="{opacity:.2f}"/>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, color: str, *, dash: str = "") -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}"'
        f' stroke-dasharray="{dash}"/>'
    )


def _text(x: float, y: float, text: str, *, anchor: str, color: str = FAINT) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{color}" font-size="11.5"'
        f' text-anchor="{anchor}">{escape(text)}</text>'
    )
