"""The committed dashboards, and what their queries are once Grafana has put values in."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from support.helm import CHARTS

Json = dict[str, Any]
FOLDER = CHARTS / "mailtopic" / "files" / "dashboards"


@dataclass(frozen=True, slots=True)
class PanelQuery:
    """One query of a panel of a dashboard.

    Attributes:
        is_instant: evaluated once, at the end of what is shown.
    """

    dashboard: str
    panel: str
    letter: str
    expression: str
    legend: str
    is_instant: bool

    def __str__(self) -> str:
        return f"{self.dashboard} / {self.panel} / {self.letter}"


def read_dashboards() -> dict[str, Json]:
    """Return all dashboards by the names of their files."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}


def panels(dashboard: Json) -> list[Json]:
    """Return the panels that show something: all but the headings of rows."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def queries(dashboard: Json) -> Iterator[PanelQuery]:
    """Yield every query of a dashboard."""
    for panel in panels(dashboard):
        for target in panel["targets"]:
            yield PanelQuery(
                dashboard["title"],
                panel["title"],
                target["refId"],
                target["expr"],
                target["legendFormat"],
                target["instant"],
            )


def filled_in(
    expression: str, *, rate_interval_s: float, range_s: float, variables: Mapping[str, str]
) -> str:
    """Return an expression as Grafana sends it; a variable that isn't given means all.

    Raises:
        AssertionError: something is left that only Grafana understands.
    """
    values = {
        "__rate_interval": f"{round(rate_interval_s * 1000)}ms",
        "__range": f"{round(range_s)}s",
        **variables,
    }
    filled = re.sub(r"\$(\w+)", lambda match: values.get(match[1], ".*"), expression)
    assert "$" not in filled, expression
    return filled


def legend_of(labels: Mapping[str, str], legend: str, expression: str = "") -> str:
    """Return a series' name as Grafana shows it."""
    if legend == "__auto":
        shown = {key: value for key, value in labels.items() if key != "__name__"}
        return " ".join(shown.values()) if shown else expression
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda match: labels.get(match[1], ""), legend).strip()
