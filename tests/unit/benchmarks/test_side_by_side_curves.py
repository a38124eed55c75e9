"""What bends the curve is told by a table and a panel for each thing that was changed."""

from dataclasses import asdict
from xml.etree import ElementTree as ET

import pytest

from benchmarks.side_by_side.charts import rounded_up
from benchmarks.side_by_side.curves import curves
from benchmarks.side_by_side.curves_report import Found, picture, section
from benchmarks.side_by_side.measuring import Round


@pytest.fixture
def found() -> Found:
    rounds = {"1 kB": 9000.0, "10 kB": 5000.0, "100 kB": 800.0}
    points = {
        step: asdict(Round(1000, rate, 1e6 / rate, 80, 0, 32, 1000, 0.1))
        for step, rate in rounds.items()
    }
    return [{"title": "size of a mail", "points": points}]


def test_each_step_has_a_row(found: Found) -> None:
    assert "| 10 kB | 5,000 | 200 | 80 | 1,000 |" in section(found)


def test_each_step_has_a_point_on_the_line(found: Found) -> None:
    svg = ET.fromstring(picture(found))  # noqa: S314 - we drew it
    assert len(list(svg.iter("{http://www.w3.org/2000/svg}circle"))) == 3


def test_steps_of_a_curve_have_different_names() -> None:
    for curve in curves(with_million=True):
        steps = [point.step for point in curve.points]
        assert len(set(steps)) == len(steps) >= 3, curve.title


@pytest.mark.parametrize(("value", "end"), [(0.9, 1), (1, 1), (9000, 10_000), (2100, 4000)])
def test_axes_end_at_round_numbers(value: float, end: float) -> None:
    assert rounded_up(value) == end
