"""A dashboard around its rows: identity, variables, links and the grid."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models import dashboard as models

from mailtopic_observability.dashboards.panels import SOURCE, Row

TAG: Final = "mailtopic"
_COLUMNS: Final = 24


@dataclass(frozen=True, slots=True)
class Choice:
    """A variable: one or several values of a label, or all of them.

    Attributes:
        of: the series with the label's values; earlier variables may narrow them.
    """

    label: str
    of: str

    @property
    def name(self) -> str:
        """Its name in queries."""
        return self.label


@dataclass(frozen=True, slots=True)
class Board:
    """A whole dashboard; the name is a word, from which its uid and file name are made."""

    name: str
    title: str
    description: str
    choices: Sequence[Choice]
    rows: Sequence[Row]

    @property
    def uid(self) -> str:
        """Its id in Grafana, the same in every installation, so that links work."""
        return uid(self.name)

    def build(self) -> models.Dashboard:
        """Return the dashboard for Grafana.

        Raises:
            ValueError: the panels of a row leave a gap.
        """
        board = (
            dashboard.Dashboard(self.title)
            .uid(self.uid)
            .description(self.description)
            .tags([TAG])
            .timezone("browser")
            .time("now-1h", "now")
            .refresh("30s")
            .tooltip(models.DashboardCursorSync.CROSSHAIR)
            .with_variable(_source_variable())
            .link(_other_boards())
        )
        for choice in self.choices:
            board.with_variable(_variable(choice))
        built = board.build()
        built.panels = _placed(self.rows)
        return built


def uid(name: str) -> str:
    """Return a dashboard's id in Grafana."""
    return f"mailtopic-{name}"


def link_to(name: str, **variables: str) -> str:
    """Return the address of a dashboard with variables set; the time range is kept."""
    values = "".join(f"&var-{key}={value}" for key, value in variables.items())
    return f"/d/{uid(name)}?${{__url_time_range}}&var-datasource=${{datasource}}{values}"


def _placed(rows: Sequence[Row]) -> list[models.Panel | models.RowPanel]:
    placed: list[models.Panel | models.RowPanel] = []
    y = 0
    for row in rows:
        head = dashboard.Row(row.title).grid_pos(models.GridPos(h=1, w=_COLUMNS, x=0, y=y)).build()
        head.id_val = len(placed) + 1
        placed.append(head)
        y += 1
        x = 0
        for panel in row.panels:
            size = panel.grid_pos or models.GridPos()
            panel.id_val = len(placed) + 1
            panel.grid_pos = models.GridPos(w=size.w, h=size.h, x=x, y=y)
            placed.append(panel)
            x += size.w
            if x > _COLUMNS:
                raise ValueError(f"{row.title}: {panel.title} does not fit beside the others")
            if x == _COLUMNS:
                x = 0
                y += size.h
        if x:
            raise ValueError(f"{row.title}: the last line has a gap")
    return placed


def _source_variable() -> dashboard.DatasourceVariable:
    return dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")


def _variable(choice: Choice) -> dashboard.QueryVariable:
    everything = models.VariableOption(selected=True, text=["All"], value=["$__all"])
    return (
        dashboard.QueryVariable(choice.name)
        .label(choice.label.capitalize())
        .query(f"label_values({choice.of}, {choice.label})")
        .datasource(SOURCE)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")  # matches series without the label, too
        .current(everything)
    )


def _other_boards() -> dashboard.DashboardLink:
    return (
        dashboard.DashboardLink("MailTopic")
        .type(models.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(True)
        .include_vars(True)
        .keep_time(True)
        .icon("dashboard")
    )
