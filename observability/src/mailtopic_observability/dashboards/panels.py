"""The dashboards' panels: with a title, a description, a unit and links to runbooks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from string import ascii_uppercase
from typing import Final

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog import builder as cog
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import heatmap as heatmap_models
from grafana_foundation_sdk.models import prometheus as prometheus_models

from mailtopic_observability.runbooks import runbook_url

SOURCE: Final = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
Steps = Sequence[tuple[float | None, str]]
"""Pairs of a value and the color from that value on; the first value is None."""
PLAIN: Final[Steps] = ((None, "blue"),)
_LINES_HEIGHT: Final = 8
_STAT_HEIGHT: Final = 4


@dataclass(frozen=True, slots=True)
class About:
    """A panel's description.

    Attributes:
        unit: Grafana's id of a unit, or suffix:TEXT.
        description: what is shown, and how to read it.
        runbooks: the alerts with runbooks that help when it looks bad.
    """

    title: str
    unit: str
    description: str
    runbooks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Query:
    """An expression and the name of each of its series.

    Attributes:
        at_end: evaluated once, at the end of the shown range.
    """

    expression: str
    legend: str = ""
    at_end: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading, from left to right."""

    title: str
    panels: Sequence[models.Panel] = field(default_factory=tuple)


def number(
    about: About,
    query: Query,
    *,
    steps: Steps = PLAIN,
    width: int = 4,
    texts: Mapping[str, str] | None = None,
    decimals: int | None = None,
) -> models.Panel:
    """Return one large number over its graph; texts replace values, including NaN."""
    panel = (
        stat.Panel()
        .graph_mode(_graph_mode(query))
        .color_mode(common_models.BigValueColorMode.VALUE)
        .text_mode(common_models.BigValueTextMode.VALUE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .thresholds(_thresholds(steps))
        .mappings(_mappings({"NaN": "–"} | dict(texts or {})))
    )
    if decimals is not None:
        panel.decimals(decimals)
    return _finish(panel, about, [query], width, _STAT_HEIGHT)


def lines(
    about: About,
    *queries: Query,
    width: int = 12,
    stacked: bool = False,
    as_bars: bool = False,
    steps: Steps = (),
    colors: Mapping[str, str] | None = None,
    dashed: Sequence[str] = (),
    most: float | None = None,
) -> models.Panel:
    """Return a graph over time.

    Args:
        about: its description.
        queries: the series to draw.
        width: of 24 columns.
        stacked: series are parts of a whole.
        as_bars: a bar at each step instead of a line: for intermittent series.
        steps: thresholds, drawn as dashed lines.
        colors: of series, by name; others get a color by their names.
        dashed: names of series that are limits, not measurements.
        most: the upper end of the axis.
    """
    panel = (
        timeseries.Panel()
        .draw_style(_BARS if as_bars else _LINE)
        .line_width(0 if as_bars else 1)
        .fill_opacity(80 if as_bars else 45 if stacked else 8)
        .show_points(common_models.VisibilityMode.NEVER)
        .min(0)
        .color_scheme(dashboard.FieldColor().mode(_BY_NAME))
        .legend(_legend())
        .tooltip(
            common.VizTooltipOptions()
            .mode(common_models.TooltipDisplayMode.MULTI)
            .sort(common_models.SortOrder.DESCENDING)
        )
    )
    if stacked:
        panel.stacking(common.StackingConfig().mode(common_models.StackingMode.NORMAL).group("A"))
    if steps:
        style = common_models.GraphThresholdsStyleMode.DASHED
        panel.thresholds(_thresholds(steps))
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(style))
    if most is not None:
        panel.max(most)
    for name, color in (colors or {}).items():
        panel.override_by_name(name, [_fixed(color)])
    for name in dashed:
        dash = models.DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [8, 6]})
        flat = models.DynamicConfigValue("custom.fillOpacity", 0)
        alone = models.DynamicConfigValue("custom.stacking", {"mode": "none", "group": "limit"})
        panel.override_by_name(name, [dash, flat, alone])
    return _finish(panel, about, queries, width, _LINES_HEIGHT)


def bars(
    about: About, *queries: Query, width: int = 12, steps: Steps = PLAIN, height: int = 8
) -> models.Panel:
    """Return a horizontal bar for each series, of its value at the end of the shown range."""
    panel = (
        bargauge.Panel()
        .orientation(common_models.VizOrientation.HORIZONTAL)
        .display_mode(common_models.BarGaugeDisplayMode.GRADIENT)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .min(0)
        .thresholds(_thresholds(steps))
    )
    return _finish(panel, about, queries, width, height)


def heat(about: About, query: Query, *, width: int = 12) -> models.Panel:
    """Return a heat map of the observations in a histogram's buckets over time."""
    panel = (
        heatmap.Panel()
        .calculate(False)
        .color(
            heatmap.HeatmapColorOptions()
            .mode(heatmap_models.HeatmapColorMode.SCHEME)
            .scheme("Oranges")
            .steps(64)
        )
        .y_axis(heatmap.YAxisConfig().unit(about.unit))
        .cell_gap(1)
        .hide_legend()
    )
    return _finish(panel, about, [query], width, _LINES_HEIGHT, heat=True)


def states(
    about: About, *queries: Query, texts: Mapping[str, tuple[str, str]], width: int = 12
) -> models.Panel:
    """Return a state timeline for each series; texts give each value's word and color."""
    panel = (
        statetimeline.Panel()
        .merge_values(True)
        .show_value(common_models.VisibilityMode.NEVER)
        .row_height(0.8)
        .fill_opacity(80)
        .mappings(_colored(texts))
        .color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
        .legend(_legend())
    )
    return _finish(panel, about, queries, width, _LINES_HEIGHT)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: the series of a query are its cells, one for each row.

    Attributes:
        link: where a click leads; Grafana replaces ${__data.fields.LABEL}.
    """

    title: str
    query: Query
    unit: str = "short"
    steps: Steps = ()


def rows(
    about: About,
    *columns: Column,
    labels: Mapping[str, str],
    link: tuple[str, str] | None = None,
    width: int = 24,
    height: int = 8,
) -> models.Panel:
    """Return a table with a row for each combination of labels.

    Args:
        about: its description; its unit applies to columns without one.
        columns: the numbers.
        labels: the names of the labels' columns, by label; the first is the link's.
        link: the text and address of a link in the first column.
        width: of 24 columns.
        height: in Grafana's rows.
    """
    panel = table.Panel().show_header(True)
    letters = ascii_uppercase[: len(columns)]
    single = len(columns) == 1
    values = ["Value" if single else f"Value #{letter}" for letter in letters]
    titles = dict(labels) | dict(zip(values, (c.title for c in columns), strict=True))
    order = {name: place for place, name in enumerate(titles)}
    hidden = dict.fromkeys(("Time", "__name__", "job", "instance"), True)
    panel.with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
    options = {"excludeByName": hidden, "indexByName": order, "renameByName": titles}
    panel.with_transformation(models.DataTransformerConfig(id_val="organize", options=options))
    for column in columns:
        changes = [models.DynamicConfigValue("unit", column.unit)]
        if column.steps:
            changes.append(
                models.DynamicConfigValue("thresholds", _thresholds(column.steps).build())
            )
            changes.append(models.DynamicConfigValue("custom.cellOptions", {"type": "color-text"}))
        panel.override_by_name(column.title, changes)
    if link is not None:
        first = next(iter(labels.values()))
        target = [{"title": link[0], "url": link[1]}]
        panel.override_by_name(first, [models.DynamicConfigValue("links", target)])
    queries = [column.query for column in columns]
    return _finish(panel, about, queries, width, height, tabular=True)


_BARS: Final = common_models.GraphDrawStyle.BARS
_LINE: Final = common_models.GraphDrawStyle.LINE
_BY_NAME: Final = models.FieldColorModeId.PALETTE_CLASSIC_BY_NAME


def _finish(
    panel: cog.Builder[models.Panel],
    about: About,
    queries: Sequence[Query],
    width: int,
    height: int,
    *,
    tabular: bool = False,
    heat: bool = False,
) -> models.Panel:
    built = panel.build()
    built.title = about.title
    built.description = about.description
    built.datasource = SOURCE
    built.grid_pos = models.GridPos(w=width, h=height)
    built.links = [
        dashboard.DashboardLink(f"Runbook: {alert}")
        .type(models.DashboardLinkType.LINK)
        .url(runbook_url(alert))
        .target_blank(True)
        .build()
        for alert in about.runbooks
    ]
    if built.field_config is None:
        built.field_config = models.FieldConfigSource()
    built.field_config.defaults.unit = about.unit
    built.targets = [
        _target(query, letter, tabular=tabular, heat=heat)
        for letter, query in zip(ascii_uppercase, queries, strict=False)
    ]
    return built


def _target(query: Query, letter: str, *, tabular: bool, heat: bool) -> prometheus_models.Dataquery:
    built = prometheus.Dataquery().expr(query.expression).ref_id(letter).datasource(SOURCE)
    built.legend_format(query.legend or "__auto")
    if tabular:
        built.format(prometheus_models.PromQueryFormat.TABLE)
    elif heat:
        built.format(prometheus_models.PromQueryFormat.HEATMAP)
    else:
        built.format(prometheus_models.PromQueryFormat.TIME_SERIES)
    if query.at_end or tabular:
        built.instant()
    else:
        built.range()
    return built.build()


def _graph_mode(query: Query) -> common_models.BigValueGraphMode:
    modes = common_models.BigValueGraphMode
    return modes.NONE if query.at_end else modes.AREA


def _legend() -> common.VizLegendOptions:
    return (
        common.VizLegendOptions()
        .display_mode(common_models.LegendDisplayMode.LIST)
        .placement(common_models.LegendPlacement.BOTTOM)
        .show_legend(True)
    )


def _thresholds(steps: Steps) -> dashboard.ThresholdsConfig:
    return (
        dashboard.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps([models.Threshold(value, color) for value, color in steps])
    )


def _fixed(color: str) -> models.DynamicConfigValue:
    return models.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": color})


def _mappings(texts: Mapping[str, str]) -> list[models.ValueMapping]:
    results = {
        value: models.ValueMappingResult(text=text, index=place)
        for place, (value, text) in enumerate(texts.items())
    }
    found: list[models.ValueMapping] = []
    if (missing := results.pop("NaN", None)) is not None:
        options = models.DashboardSpecialValueMapOptions(
            match=models.SpecialValueMatch.NULL_AND_NAN, result=missing
        )
        found.append(models.SpecialValueMap(options))
    if results:
        found.append(models.ValueMap(results))
    return found


def _colored(texts: Mapping[str, tuple[str, str]]) -> list[models.ValueMapping]:
    results = {
        value: models.ValueMappingResult(text=text, color=color, index=place)
        for place, (value, (text, color)) in enumerate(texts.items())
    }
    return [models.ValueMap(results)]
