"""Every panel says what it shows, in which unit and what to do, and asks for what there is."""

import re
from itertools import pairwise
from typing import Any

import pytest

from mailtopic_observability.dashboards.frame import Board, Choice, link_to
from mailtopic_observability.dashboards.panels import About, Query, Row, lines
from support.dashboards import filled_in, panels, queries, read_dashboards

Json = dict[str, Any]
BOARDS = read_dashboards()
PANELS = [
    pytest.param(name, panel, id=f"{name}-{panel['title']}")
    for name, board in BOARDS.items()
    for panel in panels(board)
]
# What judges: a state is good or bad, others are counted without a verdict.
JUDGED = {"stat", "bargauge"}


def test_the_six_dashboards_have_uids_that_never_change() -> None:
    assert {name: board["uid"] for name, board in BOARDS.items()} == {
        name: f"mailtopic-{name}"
        for name in ("overview", "topic", "relay", "signup", "operator", "kafka")
    }
    assert len({board["title"] for board in BOARDS.values()}) == 6


@pytest.mark.parametrize(("name", "panel"), PANELS)
def test_a_panel_has_a_title_a_unit_and_a_description(name: str, panel: Json) -> None:
    assert panel["title"], name
    assert re.fullmatch(r"s|ms|short|bytes|Bps|percentunit|suffix:\S+", unit_of(panel))
    # Sentences, not the title again.
    assert panel["description"].endswith(".")
    assert len(panel["description"]) >= 20
    assert panel["description"].rstrip(".").lower() != panel["title"].lower()
    if panel["type"] in JUDGED:
        assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"][0]["value"] is None


def unit_of(panel: Json) -> str:
    return str(panel["fieldConfig"]["defaults"]["unit"])


@pytest.mark.parametrize(("name", "panel"), PANELS)
def test_thresholds_grow_and_the_first_holds_from_the_start(name: str, panel: Json) -> None:
    steps = panel["fieldConfig"]["defaults"].get("thresholds", {}).get("steps", [])
    values = [step["value"] for step in steps]
    assert values[:1] in ([], [None]), name
    assert all(one < two for one, two in pairwise(values[1:]))


@pytest.mark.parametrize(("name", "panel"), PANELS)
def test_a_panel_asks_the_data_source_that_was_chosen(name: str, panel: Json) -> None:
    wanted = {"type": "prometheus", "uid": "${datasource}"}
    assert panel["targets"], name
    assert panel["datasource"] == wanted
    letters = [target["refId"] for target in panel["targets"]]
    assert letters == list("ABCDEFGHIJ"[: len(letters)])
    for target in panel["targets"]:
        assert target["datasource"] == wanted
        assert target["legendFormat"]


@pytest.mark.parametrize("name", BOARDS)
def test_panels_fill_the_grid_without_gaps_or_overlaps(name: str) -> None:
    cells: set[tuple[int, int]] = set()
    for panel in BOARDS[name]["panels"]:
        place = panel["gridPos"]
        own = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & own, panel["title"]
        cells |= own
    height = max(y for _, y in cells) + 1
    assert cells == {(x, y) for x in range(24) for y in range(height)}
    ids = [panel["id"] for panel in BOARDS[name]["panels"]]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("name", BOARDS)
def test_all_dashboards_look_and_lead_alike(name: str) -> None:
    board = BOARDS[name]
    assert board["panels"][0]["title"] == "Now"
    first = [panel for panel in panels(board) if panel["gridPos"]["y"] == 1]
    assert [panel["type"] for panel in first] == ["stat"] * 6
    assert board["tags"] == ["mailtopic"]
    assert board["description"].endswith((".", "?"))
    (link,) = board["links"]
    assert (link["type"], link["tags"], link["keepTime"], link["includeVars"]) == (
        "dashboards",
        ["mailtopic"],
        True,
        True,
    )


@pytest.mark.parametrize("name", BOARDS)
def test_variables_are_declared_and_used(name: str) -> None:
    declared = [variable["name"] for variable in BOARDS[name]["templating"]["list"]]
    assert declared[:2] == ["datasource", "namespace"]
    for variable in BOARDS[name]["templating"]["list"][1:]:
        assert (variable["includeAll"], variable["allValue"]) == (True, ".*")
    used = {
        match
        for query in queries(BOARDS[name])
        for match in re.findall(r"\$(\w+)", query.expression)
    }
    assert used - {"__rate_interval", "__range"} == set(declared[1:])


def test_links_between_dashboards_lead_somewhere() -> None:
    text = str(BOARDS)
    found = set(re.findall(r"/d/([\w-]+)", text))
    assert found == {"mailtopic-topic"}
    assert found <= {board["uid"] for board in BOARDS.values()}
    assert link_to("topic", topic="a").startswith("/d/mailtopic-topic?")


def test_a_row_with_a_gap_is_refused() -> None:
    panel = lines(About("Lag", "s", "How old."), Query("up"), width=8)
    row = Row("Now", (panel, panel))
    board = Board("gap", "Gap", "A gap.", (Choice("namespace", "up"),), (row,))
    with pytest.raises(ValueError, match="Now: the last line has a gap"):
        board.build()


def test_nothing_of_grafana_is_left_in_a_query_that_is_filled_in() -> None:
    text = 'sum(rate(mails_total{topic=~"$topic",relay=~"$relay"}[$__rate_interval]))'
    filled = filled_in(text, rate_interval_s=4, range_s=60, variables={"topic": "mails"})
    assert filled == 'sum(rate(mails_total{topic=~"mails",relay=~".*"}[4000ms]))'
