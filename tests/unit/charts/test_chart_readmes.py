"""Each chart's README says what its values are."""

import pytest

from support.chart_readmes import UndescribedError, described_values, readme_of
from support.helm import CHARTS, charts


@pytest.mark.parametrize("chart", charts())
def test_the_readme_of_a_chart_is_up_to_date(chart: str) -> None:
    written = (CHARTS / chart / "README.md").read_text("utf-8")
    assert written == readme_of(CHARTS / chart), "run: python -m support.chart_readmes"


def test_a_value_is_described_by_the_comment_above_it() -> None:
    values = described_values(
        "# not of a value\n\n# -- The level,\n# two lines of it\na:\n"
        "  b: 1\n  # -- Other\n  c: [x]\n"
    )
    rows = [(each.path, each.default, each.text) for each in values]
    assert rows == [
        ("a", '`{"b": 1, "c": ["x"]}`', "The level, two lines of it"),
        ("a.c", '`["x"]`', "Other"),
    ]


def test_a_value_without_a_comment_is_named() -> None:
    with pytest.raises(UndescribedError, match=r"^a\.b$"):
        described_values("a:\n  b: 1\n")
