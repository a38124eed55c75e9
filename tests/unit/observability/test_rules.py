"""The rules say what they should, in one voice, and are what is committed."""

import re
from pathlib import Path

import pytest

from mailtopic_observability.generate import stale
from mailtopic_observability.rules import GENERATOR, Alert, Parameters, Severity, groups, scaled
from mailtopic_observability.rules.model import as_yaml
from mailtopic_observability.rules.parameters import BOUNDS_S
from mailtopic_observability.rules.slo import GARBAGE
from mailtopic_sender.domain.replies import ReplyClass
from mailtopic_sender.metric_families import DEAD_REASONS, DELIVERY_SECONDS, MAILS
from support.helm import CHARTS, ROOT
from support.prometheus import promtool
from support.promql import named

FILES = sorted((CHARTS / "mailtopic" / "files" / "rules").glob("*.yaml"))
ALERTS = [alert for group in groups() for alert in group.alerts]
RECORDED = {rule.record for group in groups() for rule in group.recordings}


def test_what_is_committed_is_what_is_generated() -> None:
    assert stale(ROOT, [GENERATOR]) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_prometheus_own_checker_finds_nothing(path: Path) -> None:
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_an_alert_tells_a_person_what_they_need(alert: Alert) -> None:
    rule = alert.as_dict()
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert "{{" not in alert.summary, "one line, the same each time"
    assert len(alert.summary) <= 80
    assert rule["annotations"]["runbook_url"].endswith(f"/{alert.name}.md")
    assert re.search(r"Expected when .+\.$", rule["annotations"]["description"])
    assert "{{" in alert.description or "No " in alert.description or "Not one" in alert.description
    assert alert.hold_reason
    assert alert.name.startswith(("MailTopic", "Kafka"))
    assert rule["labels"]["severity"] in set(Severity)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_labels_that_a_text_names_are_labels_that_the_expression_leaves(alert: Alert) -> None:
    used = set(re.findall(r"\$labels\.(\w+)", alert.description))
    found = named(alert.expr)
    recorded = {
        label
        for group in groups()
        for rule in group.recordings
        if rule.record in found.metrics
        for label in named(rule.expr).lists
    }
    of_targets = {"instance", "job", "directory"} if "by (" not in alert.expr else set()
    assert used <= found.lists | recorded | of_targets


def test_a_page_comes_within_minutes_and_the_rest_may_take_longer() -> None:
    for alert in ALERTS:
        if alert.severity is Severity.PAGE and "long_window" not in alert.labels:
            assert alert.hold in {"1m", "2m", "3m", "5m"}, alert.name


def test_recorded_series_are_named_in_one_way_and_made_before_they_are_read() -> None:
    made: set[str] = set()
    for group in groups():
        for rule in group.rules:
            assert {m for m in named(rule.expr).metrics if ":" in m} <= made, rule
            if not isinstance(rule, Alert):
                assert re.fullmatch(r"[a-z]+:[a-z_]+:[a-z0-9_]+", rule.record)
                assert rule.record not in made
                made.add(rule.record)


def test_every_reason_of_a_dead_letter_is_somebodys_fault() -> None:
    ours = {"bug", "sealing", "template", "unknown", "unknown-version"}
    of_relays = {ReplyClass.PROTOCOL, ReplyClass.REPUTATION}
    assert {*GARBAGE, *ours, *of_relays} == set(DEAD_REASONS)


def test_every_outcome_is_decided_on() -> None:
    """A new outcome has to be put into the objective, and into the guide's table."""
    (outcomes,) = [label.values for label in MAILS.labels if label.name == "outcome"]
    guide = (ROOT / "docs" / "guides" / "observability.md").read_text()
    table = guide.partition("### The objective")[2].partition("**Burn rates.**")[0]
    in_dead_letters = {"dead"}
    assert {o for o in outcomes if f"`{o}`" in table} == set(outcomes) - in_dead_letters


def test_a_threshold_is_a_bound_of_a_bucket() -> None:
    assert set(BOUNDS_S) <= set(DELIVERY_SECONDS.buckets)
    with pytest.raises(ValueError, match="threshold_s"):
        Parameters(threshold_s=20)
    with pytest.raises(ValueError, match="objective"):
        Parameters(objective=1)
    with pytest.raises(ValueError, match="limits"):
        Parameters(lag_limit_s=0)


def test_a_scaled_rule_differs_in_nothing_but_its_times(tmp_path: Path) -> None:
    fast = scaled(groups(), by=60, least_range_s=5)
    (tmp_path / "fast.yaml").write_text(as_yaml(fast))
    assert promtool("check", "rules", tmp_path / "fast.yaml").returncode == 0
    times = re.compile(r"\[\d+\w+\]|offset \d+\w+")
    for group, other in zip(groups(), fast, strict=True):
        for rule, short in zip(group.rules, other.rules, strict=True):
            assert times.sub("", rule.expr) == times.sub("", short.expr)
            if isinstance(rule, Alert) and isinstance(short, Alert):
                assert (rule.name, rule.labels) == (short.name, short.labels)
                assert rule.description == short.description


def test_times_are_divided_and_ranges_keep_two_scrapes() -> None:
    rules = {
        rule.name: rule
        for group in scaled(groups(), by=60, least_range_s=5)
        for rule in group.alerts
    }
    assert rules["MailTopicLagHigh"].hold == "3000ms"
    assert "[60000ms]" in rules["MailTopicRelayAuthFailing"].expr
    assert "[5000ms]" in rules["MailTopicStalled"].expr, "3 minutes would be 3 s"
    assert rules["MailTopicDeadLettersGrowing"].hold == "0s"
    dead = next(
        rule
        for group in scaled(groups(), by=60, least_range_s=5)
        for rule in group.recordings
        if rule.record == "mailtopic:dead_letters:increase1h"
    )
    assert "[360000ms] offset 60000ms" in dead.expr
