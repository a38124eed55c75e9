"""Every alert has its runbook, every runbook its alert, and what it says to type can be typed."""

import re
import shlex
from collections.abc import Iterator
from functools import cache, reduce
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from mailtopic_cli.__main__ import app
from mailtopic_observability.rules import Severity, groups
from support.helm import CHARTS, ROOT

_FOLDER = ROOT / "docs" / "runbooks"
_PAGES = sorted(path for path in _FOLDER.glob("*.md") if path.stem != "README")
_ALERTS = {alert.name: alert for group in groups() for alert in group.alerts}
_SECTIONS = ["Impact", "Look first", "What to do", "Resolved when", "Prevention"]
_LONGEST_LINES = 60
_VALUE = re.compile(r"`((?:sender|signup|kafka|operator|monitoring)(?:\.[A-Za-z]+)+)[`=]")
_OUR_COMMAND = re.compile(r"(?:^    |`)(mailtopic (?:dlq|status|up|inbox)\b[^`\n]*)", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)#:]*)(?:#([^)]*))?\)")


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    assert {path.stem for path in _PAGES} == set(_ALERTS)


@pytest.mark.parametrize("path", _PAGES, ids=lambda path: path.stem)
def test_a_runbook_answers_the_same_questions_in_the_same_order(path: Path) -> None:
    text = path.read_text()
    assert text.startswith(f"# {path.stem}\n")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == _SECTIONS
    assert len(text.splitlines()) <= _LONGEST_LINES, "nobody reads more at night"
    look = text.partition("## Look first")[2].partition("## What to do")[0]
    assert re.search(r"^    \S", look, re.MULTILINE), "the first look is a command"


@pytest.mark.parametrize("path", [*_PAGES, _FOLDER / "README.md"], ids=lambda path: path.stem)
def test_links_lead_somewhere(path: Path) -> None:
    for target, anchor in _LINK.findall(path.read_text()):
        page = (path.parent / target).resolve() if target else path
        assert page.is_file(), target
        if anchor:
            assert anchor in set(_anchors(page.read_text())), f"{target}#{anchor}"


def _anchors(text: str) -> Iterator[str]:
    for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE):
        yield re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("path", _PAGES, ids=lambda path: path.stem)
def test_commands_of_ours_are_understood_by_the_command_line(path: Path) -> None:
    for command in _OUR_COMMAND.findall(path.read_text()):
        words = shlex.split(command)[1:]
        # Options are read before --help answers, so a misspelt one is refused.
        answer = CliRunner().invoke(app, [*words, "--help"])
        assert answer.exit_code == 0, f"{command}: {answer.output}"


@pytest.mark.parametrize("path", _PAGES, ids=lambda path: path.stem)
def test_values_of_charts_exist(path: Path) -> None:
    for name in _VALUE.findall(path.read_text()):
        component, _, rest = name.partition(".")
        chart, place = ("mailtopic", name) if component == "monitoring" else (component, rest)
        values = _values(chart)
        found = reduce(
            lambda at, key: at.get(key, _MISSING) if isinstance(at, dict) else _MISSING,
            place.split("."),
            values,
        )
        assert found is not _MISSING or place in _OF_A_DISABLED_PART, name


_MISSING: Any = object()
_OF_A_DISABLED_PART = {"enabled"}


@cache
def _values(chart: str) -> Any:
    return yaml.safe_load((CHARTS / chart / "values.yaml").read_text())


def test_pages_wake_people_for_what_hurts_people() -> None:
    for name, alert in _ALERTS.items():
        hurt = (_FOLDER / f"{name}.md").read_text().partition("## Impact\n")[2]
        calm = hurt.startswith(("None", "Usually none", "Some people"))
        if alert.severity is Severity.PAGE and name not in _BEFORE_IT_HURTS:
            assert not calm, name


_BEFORE_IT_HURTS = {"KafkaDiskAlmostFull", "KafkaNoQuorum"}
"""Pages before there is any impact, because too little time is left afterwards."""
