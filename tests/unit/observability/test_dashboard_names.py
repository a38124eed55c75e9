"""What dashboards name is there: recorded series, and alerts with a runbook."""

import re

import pytest

from mailtopic_observability.rules import groups
from support.dashboards import queries, read_dashboards

BOARDS = read_dashboards()
RECORDED = {rule.record for group in groups() for rule in group.recordings}
ALERTS = {rule.name for group in groups() for rule in group.alerts}


@pytest.mark.parametrize("name", BOARDS)
def test_every_recorded_series_is_recorded(name: str) -> None:
    asked = {
        series
        for query in queries(BOARDS[name])
        for series in re.findall(r"\b(?:mailtopic|kafka):[\w:]+", query.expression)
    }
    assert asked <= RECORDED
    assert asked or name not in {"overview", "topic"}


@pytest.mark.parametrize("name", BOARDS)
def test_every_runbook_that_a_panel_links_to_is_one_of_an_alert(name: str) -> None:
    linked = set(re.findall(r"/runbooks/(\w+)\.md", str(BOARDS[name])))
    assert linked
    assert linked <= ALERTS


def test_the_alerts_that_page_are_linked_from_a_panel() -> None:
    linked = set(re.findall(r"/runbooks/(\w+)\.md", str(BOARDS)))
    paging = {
        rule.name for group in groups() for rule in group.alerts if rule.severity.value == "page"
    }
    assert paging - linked == set()
