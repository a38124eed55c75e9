"""Dashboards ask only for series that somebody exports, by labels that these have."""

import pytest

from mailtopic_observability.catalogue import METRICS
from mailtopic_observability.rules import groups
from support.dashboards import PanelQuery, filled_in, queries, read_dashboards
from support.promql import Named, named

BOARDS = read_dashboards()
QUERIES = [
    pytest.param(query, id=f"{name}-{query}")
    for name, board in BOARDS.items()
    for query in queries(board)
]
# What scraping, histograms and Prometheus itself add.
ADDED = {"namespace", "pod", "job", "instance", "le", "quantile"}
ALERTS = {"ALERTS": {"alertname", "alertstate"}}
LABELS = {
    sample: set(metric.label_names) | ADDED for metric in METRICS for sample in metric.samples
} | ALERTS
RECORDED = {rule.record for group in groups() for rule in group.recordings}


def names_of(query: PanelQuery) -> Named:
    return named(filled_in(query.expression, rate_interval_s=60, range_s=600, variables={}))


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_asks_for_metrics_and_labels_that_exist(query: PanelQuery) -> None:
    found = names_of(query)
    assert found.metrics
    assert found.metrics - set(LABELS) - RECORDED == set()
    for metric, matchers in found.selectors:
        if metric in LABELS:
            assert {label for label, *_ in matchers} <= LABELS[metric]
    exported = [LABELS[metric] for metric in found.metrics if metric in LABELS]
    for label in found.lists:
        assert not exported or any(label in labels for labels in exported)


def test_variables_take_their_values_from_metrics_that_exist() -> None:
    for board in BOARDS.values():
        for variable in board["templating"]["list"][1:]:
            series, label = variable["query"].removeprefix("label_values(")[:-1].rsplit(", ", 1)
            (metric,) = named(
                filled_in(series, rate_interval_s=60, range_s=600, variables={})
            ).metrics
            assert label in LABELS[metric]


def test_what_operators_of_mail_watch_is_on_a_dashboard() -> None:
    shown = {
        metric
        for board in BOARDS.values()
        for query in queries(board)
        for metric in names_of(query).metrics
    }
    for name, metric in ((each.name, each) for each in METRICS):
        if name.startswith("mailtopic_") and name not in NOT_SHOWN:
            assert set(metric.samples) & shown, name


# Of no use in a course over time, or shown in another form.
NOT_SHOWN = {
    "mailtopic_sealed_in_version_1_total",
    "mailtopic_kafka_agent_partitions_omitted",
    "mailtopic_operator_leader_changes_total",
}
