"""The colors that dashboards name, and those of series without one."""

from collections.abc import Iterable, Mapping
from typing import Any

Json = dict[str, Any]
BACKGROUND = "#111217"
PANEL = "#181b1f"
LINE = "#2c3036"
TEXT = "#ccccdc"
FAINT = "#8e8e99"
_NAMED = {
    "green": "#73bf69",
    "light-green": "#96d98d",
    "dark-green": "#37872d",
    "yellow": "#fade2a",
    "light-yellow": "#ffee52",
    "dark-yellow": "#e0b400",
    "orange": "#ff9830",
    "light-orange": "#ffb357",
    "dark-orange": "#fa6400",
    "red": "#f2495c",
    "light-red": "#ff7383",
    "dark-red": "#c4162a",
    "blue": "#5794f2",
    "light-blue": "#8ab8ff",
    "dark-blue": "#1f60c4",
    "purple": "#b877d9",
    "light-purple": "#ca95e5",
    "dark-purple": "#8f3bb8",
}
_SERIES = (
    "#73bf69",
    "#5794f2",
    "#ff9830",
    "#b877d9",
    "#fade2a",
    "#8ab8ff",
    "#ff7383",
    "#37872d",
    "#ca95e5",
    "#ffb357",
    "#1f60c4",
    "#96d98d",
)


def hex_of(color: str) -> str:
    """Return a color that a dashboard names."""
    return _NAMED.get(color, color)


def series_colors(names: Iterable[str], fixed: Mapping[str, str]) -> dict[str, str]:
    """Return each series' color: the one that is fixed, or the next that is free."""
    free = [color for color in _SERIES if color not in {hex_of(each) for each in fixed.values()}]
    colors: dict[str, str] = {}
    for name in names:
        if name in fixed:
            colors[name] = hex_of(fixed[name])
        elif name not in colors:
            colors[name] = free[len(colors) % len(free)]
    return colors


def threshold_color(steps: Iterable[Json], value: float) -> str:
    """Return the color that thresholds give a value."""
    color = TEXT
    for step in steps:
        if step["value"] is None or value >= step["value"]:
            color = hex_of(step["color"])
    return color
