"""Rules name only what something exports: metrics, labels, and the values of closed label sets.

A rule over a misspelt metric never fires and never fails: nobody would notice.
"""

import re
from pathlib import Path

import pytest

from mailtopic_observability.catalogue import METRICS, Metric
from mailtopic_observability.rules import groups
from support.helm import ROOT
from support.promql import named

OF_SCRAPES = {"namespace", "job", "instance", "pod"}
OF_PROMETHEUS = {"up"}
RULES = [rule for group in groups() for rule in group.rules]
RECORDED = {rule.record: named(rule.expr).lists for group in groups() for rule in group.recordings}
QUERY = re.compile(r"^    (?!kubectl|mailtopic |kafka-| )(.+)$", re.MULTILINE)
"""An indented line that is no command, and no command's second line, is PromQL."""
BY_SAMPLE: dict[str, list[Metric]] = {}
for metric in METRICS:
    for sample in metric.samples:
        BY_SAMPLE.setdefault(sample, []).append(metric)


def labels_of(name: str) -> set[str]:
    """Labels that a series may have; a recorded one's are those that it is grouped by."""
    if name in RECORDED:
        inner = set().union(*(RECORDED.get(m, set()) for m in read_by(name)))
        return set(RECORDED[name]) | inner
    bucket = {"le"} if name.endswith("_bucket") else set()
    return set().union(*(metric.label_names for metric in BY_SAMPLE.get(name, [])), bucket)


def read_by(record: str) -> set[str]:
    """Recorded series that a recorded series is made of, through any number of steps."""
    (expr,) = [
        rule.expr for group in groups() for rule in group.recordings if rule.record == record
    ]
    direct = {name for name in named(expr).metrics if name in RECORDED}
    return direct.union(*(read_by(name) for name in direct))


def wrong(expression: str) -> list[str]:
    """What an expression names and nothing exports."""
    found = named(expression)
    unknown = sorted(found.metrics - BY_SAMPLE.keys() - RECORDED.keys() - OF_PROMETHEUS)
    if unknown:
        return [f"{name} is no metric" for name in unknown]
    return [*_wrong_matchers(expression), *_wrong_lists(expression)]


def _wrong_matchers(expression: str) -> list[str]:
    faults = []
    for name, matchers in named(expression).selectors:
        for label, operator, pattern in matchers:
            if label not in labels_of(name) | OF_SCRAPES:
                faults.append(f"{name} has no label {label}")
            faults += _wrong_values(name, label, operator, pattern)
    return faults


def _wrong_values(name: str, label: str, operator: str, pattern: str) -> list[str]:
    closed = [
        set(each.values)
        for m in BY_SAMPLE.get(name, [])
        for each in m.labels
        if (each.name == label and each.values)
    ]
    if not closed:
        return []
    alternatives = pattern.split("|") if operator in {"=~", "!~"} else [pattern]
    return [
        f"{name} has no {label} {value}"
        for value in alternatives
        if not any(re.fullmatch(value, known) for known in closed[0])
    ]


def _wrong_lists(expression: str) -> list[str]:
    found = named(expression)
    known = OF_SCRAPES.union(*(labels_of(name) for name in found.metrics - OF_PROMETHEUS))
    return [f"no label {label} in {expression}" for label in sorted(found.lists - known)]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: getattr(rule, "record", "") or rule.name)
def test_a_rule_names_what_something_exports(rule: object) -> None:
    assert wrong(getattr(rule, "expr", "")) == []


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("rate(mailtopic_mail_total[5m])", "mailtopic_mail_total is no metric"),
        ('mailtopic_mails_total{outcom="dead"}', "mailtopic_mails_total has no label outcom"),
        ('mailtopic_mails_total{outcome="died"}', "mailtopic_mails_total has no outcome died"),
        (
            'mailtopic_smtp_replies_total{class=~"auth|quotta"}',
            "mailtopic_smtp_replies_total has no class quotta",
        ),
        ("sum by (topics) (mailtopic_mails_total)", "no label topics in "),
        ("mailtopic:lag:max > 3", "mailtopic:lag:max is no metric"),
    ],
)
def test_a_misspelt_name_is_found(expression: str, fault: str) -> None:
    assert [each for each in wrong(expression) if each.startswith(fault)]


@pytest.mark.parametrize(
    "path", sorted((ROOT / "docs" / "runbooks").glob("[KM]*.md")), ids=lambda path: path.stem
)
def test_a_runbook_asks_for_what_something_exports(path: Path) -> None:
    text = path.read_text()
    names = set(re.findall(r"\b(?:mailtopic|kafka)(?:_[a-z]+)+\b|\bprocess_[a-z_]+", text))
    names |= set(re.findall(r"\b(?:mailtopic|kafka):[a-z_]+:[a-z0-9_]+", text))
    assert names <= BY_SAMPLE.keys() | RECORDED.keys()


@pytest.mark.parametrize(
    "path", sorted((ROOT / "docs" / "runbooks").glob("[KM]*.md")), ids=lambda path: path.stem
)
def test_a_runbooks_queries_are_right(path: Path) -> None:
    for query in QUERY.findall(path.read_text()):
        assert wrong(query) == [], query
