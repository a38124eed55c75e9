"""Each kind of panel, as HTML of a given size in pixels."""

import math
from collections.abc import Callable, Mapping
from html import escape
from typing import Any

from support.drawing.answers import Answers
from support.drawing.palette import FAINT, hex_of, series_colors, threshold_color
from support.drawing.plots import (
    Curve,
    Frame,
    axes,
    bands,
    curves,
    heat,
    limits,
    nice_end,
    spark,
    ticks,
    width_of,
)
from support.drawing.units import written
from support.prometheus import Series

Json = dict[str, Any]
_HEAD = 30
_LEGEND = 24


def body_of(panel: Json, answers: Answers, width: float, height: float) -> str:
    """Return what is below a panel's title.

    Raises:
        KeyError: this kind of panel is not supported.
    """
    kinds: dict[str, Callable[[Json, Answers, float, float], str]] = {
        "stat": _stat,
        "timeseries": _timeseries,
        "bargauge": _bars,
        "heatmap": _heat,
        "state-timeline": _states,
        "table": _table,
    }
    return kinds[panel["type"]](panel, answers, width, height - _HEAD)


def _stat(panel: Json, answers: Answers, width: float, height: float) -> str:
    defaults = panel["fieldConfig"]["defaults"]
    found = [series for _, series in answers.of_panel(panel)]
    values = [v for series in found for _, v in series.points if not math.isnan(v)]
    value = values[-1] if values else math.nan
    text = _mapped(defaults, value) or written(value, defaults["unit"], defaults.get("decimals"))
    color = threshold_color(defaults["thresholds"]["steps"], value)
    line = ""
    if panel["options"]["graphMode"] == "area" and found:
        line = spark(found[0].points, width, height * 0.45, color)
    number, _, unit = text.partition(" ")
    return (
        f'<div class="number" style="color:{color}">{escape(number)}'
        f"<small>{escape(' ' + unit if unit else '')}</small></div>"
        f'<svg class="spark" width="{width}" height="{height * 0.45}">{line}</svg>'
    )


def _mapped(defaults: Json, value: float) -> str | None:
    for mapping in defaults.get("mappings", []):
        if mapping["type"] == "special" and math.isnan(value):
            return str(mapping["options"]["result"]["text"])
        if mapping["type"] == "value" and f"{value:g}" in mapping["options"]:
            return str(mapping["options"][f"{value:g}"]["text"])
    return None


def _timeseries(panel: Json, answers: Answers, width: float, height: float) -> str:
    defaults = panel["fieldConfig"]["defaults"]
    found = answers.of_panel(panel)
    fixed, dashed = _overrides(panel)
    colors = series_colors((name for name, _ in found), fixed)
    is_stacked = defaults["custom"].get("stacking", {}).get("mode") == "normal"
    is_bars = defaults["custom"].get("drawStyle") == "bars"
    drawn = [
        Curve(
            name,
            series.points,
            colors[name],
            is_dashed=name in dashed,
            is_stacked=is_stacked and name not in dashed,
            is_bars=is_bars,
        )
        for name, series in found
    ]
    most, step = _axis(drawn, defaults)
    labels = ticks(most, step, defaults["unit"])
    window = answers.window
    left = width_of([text for _, text in labels])
    frame = Frame(width, height - _LEGEND, window.start_s, window.end_s, most, left)
    marks = {}
    if "thresholdsStyle" in defaults["custom"]:
        steps = defaults["thresholds"]["steps"]
        marks = {step["value"]: hex_of(step["color"]) for step in steps if step["value"]}
    inside = axes(frame, labels) + limits(frame, marks)
    inside += curves(frame, drawn, window.step_s)
    return _svg(frame, inside) + _legend({curve.name: curve.color for curve in drawn})


def _axis(drawn: list[Curve], defaults: Json) -> tuple[float, float]:
    if "max" in defaults:
        return defaults["max"], defaults["max"] / 4
    sums: dict[float, float] = {}
    most = 0.0
    for curve in drawn:
        for at, value in curve.points:
            if not math.isfinite(value):
                continue
            sums[at] = (sums.get(at, 0.0) if curve.is_stacked else 0.0) + value
            most = max(most, sums[at])
    return nice_end(most * 1.02, defaults["unit"])


def _overrides(panel: Json) -> tuple[dict[str, str], set[str]]:
    fixed: dict[str, str] = {}
    dashed: set[str] = set()
    for override in panel["fieldConfig"].get("overrides", []):
        name = override["matcher"]["options"]
        for change in override["properties"]:
            if change["id"] == "color":
                fixed[name] = change["value"]["fixedColor"]
            if change["id"] == "custom.lineStyle":
                dashed.add(name)
    return fixed, dashed


def _bars(panel: Json, answers: Answers, width: float, height: float) -> str:
    defaults = panel["fieldConfig"]["defaults"]
    found = answers.of_panel(panel)
    most = max((series.value for _, series in found), default=1.0) or 1.0
    rows = []
    for name, series in found:
        color = threshold_color(defaults["thresholds"]["steps"], series.value)
        share = series.value / most * 100
        text = written(round(series.value), defaults["unit"])
        rows.append(
            f'<div class="bar"><span>{escape(name)}</span><div class="track">'
            f'<div style="width:{share:.1f}%;background:linear-gradient(90deg,{color}55,{color})">'
            f'</div></div><b style="color:{color}">{text}</b></div>'
        )
    return f'<div class="bars" style="height:{height - 8}px;width:{width}px">{"".join(rows)}</div>'


def _heat(panel: Json, answers: Answers, width: float, height: float) -> str:
    window = answers.window
    frame = Frame(width, height, window.start_s, window.end_s, 1)
    buckets = [series for _, series in answers.of_panel(panel)]
    unit = panel["fieldConfig"]["defaults"]["unit"]
    return _svg(frame, heat(frame, buckets, window.step_s, unit))


def _states(panel: Json, answers: Answers, width: float, height: float) -> str:
    window = answers.window
    frame = Frame(width, height - _LEGEND, window.start_s, window.end_s, 1)
    (mapping,) = panel["fieldConfig"]["defaults"]["mappings"]
    results = mapping["options"]
    colors = {value: hex_of(result["color"]) for value, result in results.items()}
    texts = {result["text"]: hex_of(result["color"]) for result in results.values()}
    return _svg(frame, bands(frame, answers.of_panel(panel), colors)) + _legend(texts)


def _table(panel: Json, answers: Answers, width: float, height: float) -> str:
    organize = panel["transformations"][-1]["options"]
    titles: dict[str, str] = organize["renameByName"]
    numbers = [name for name in titles if name.startswith("Value")]
    labels = [name for name in titles if name not in numbers]
    cells: dict[tuple[str, ...], dict[str, Series]] = {}
    for number, target in zip(numbers, panel["targets"], strict=True):
        for _, series in answers.of(target):
            key = tuple(series.labels.get(label, "") for label in labels)
            cells.setdefault(key, {})[number] = series
    head = "".join(f"<th>{escape(titles[name])}</th>" for name in (*labels, *numbers))
    rows = []
    for key, found in sorted(cells.items()):
        row = "".join(f"<td>{escape(each)}</td>" for each in key)
        row += "".join(_cell(panel, titles[name], found.get(name)) for name in numbers)
        rows.append(f"<tr>{row}</tr>")
    size = f"width:{width - 16}px;max-height:{height}px"
    return f'<table style="{size}"><tr>{head}</tr>{"".join(rows)}</table>'


def _cell(panel: Json, title: str, series: Series | None) -> str:
    changes: dict[str, Any] = {}
    for override in panel["fieldConfig"]["overrides"]:
        if override["matcher"]["options"] == title:
            changes |= {change["id"]: change["value"] for change in override["properties"]}
    value = math.nan if series is None else series.value
    steps = changes.get("thresholds", {}).get("steps", [])
    exact = round(value) if changes["unit"] == "short" and math.isfinite(value) else value
    color = threshold_color(steps, exact) if math.isfinite(value) else FAINT
    return f'<td class="n" style="color:{color}">{escape(written(exact, changes["unit"]))}</td>'


def _svg(frame: Frame, inside: str) -> str:
    return f'<svg width="{frame.width}" height="{frame.height}">{inside}</svg>'


def _legend(colors: Mapping[str, str]) -> str:
    items = "".join(
        f'<span><i style="background:{color}"></i>{escape(name)}</span>'
        for name, color in colors.items()
    )
    return f'<div class="legend">{items}</div>'
