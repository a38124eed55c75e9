"""Pictures of dashboards write numbers, axes and legends as Grafana does."""

import math
from typing import Any

import pytest

from support.dashboards import legend_of
from support.drawing.palette import hex_of, series_colors, threshold_color
from support.drawing.plots import nice_end
from support.drawing.units import written

STEPS: list[dict[str, Any]] = [{"value": None, "color": "green"}, {"value": 10, "color": "red"}]


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0123, "s", "12.3 ms"),
        (1.5, "s", "1.50 s"),
        (120, "s", "2 min"),
        (0, "s", "0 s"),
        (250, "ms", "250 ms"),
        (0.967, "percentunit", "96.7%"),
        (3 * 1024**2, "bytes", "3.0 MiB"),
        (1500, "Bps", "1.5 kB/s"),
        (1500, "short", "1.5 K"),
        (4.25, "suffix:mails/s", "4.25 mails/s"),
        (2, "suffix:/s", "2/s"),
        (math.nan, "s", "–"),
    ],
)
def test_a_number_is_written_with_its_unit(value: float, unit: str, text: str) -> None:
    assert written(value, unit) == text


@pytest.mark.parametrize(
    ("value", "unit", "end"), [(0, "s", 1), (17, "short", 20), (0.93, "s", 1), (122, "s", 150)]
)
def test_an_axis_ends_at_a_round_number(value: float, unit: str, end: float) -> None:
    assert nice_end(value, unit)[0] == pytest.approx(end)


def test_thresholds_and_fixed_colors_are_the_dashboards_own() -> None:
    assert threshold_color(STEPS, 9.9) == hex_of("green")
    assert threshold_color(STEPS, 10) == hex_of("red")
    colors = series_colors(["accepted", "dead"], {"dead": "red"})
    assert colors["dead"] == hex_of("red")
    assert colors["accepted"] not in {hex_of("red"), "red"}


def test_a_legend_is_filled_with_labels() -> None:
    labels = {"__name__": "mails", "topic": "codes", "relay": "inbox"}
    assert legend_of(labels, "{{topic}} {{relay}}") == "codes inbox"
    assert legend_of(labels, "__auto") == "codes inbox"
    assert legend_of({}, "__auto", "up") == "up"
