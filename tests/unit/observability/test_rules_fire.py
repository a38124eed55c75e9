"""Each alert fires when it should and stays silent when it should, by promtool's own evaluation."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from mailtopic_observability.rules import Alert, Group, groups
from mailtopic_observability.rules.model import as_yaml
from support.prometheus import promtool
from support.promql import named

_CASES = Path(__file__).parent / "alerts"
_NAMES = sorted({alert.name for group in groups() for alert in group.alerts})


@cache
def _cases() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(_CASES.glob("*.yaml")):
        of_file = yaml.safe_load(path.read_text())
        assert not found.keys() & of_file.keys()
        found |= of_file
    return found


def _groups_of(name: str) -> list[Group]:
    """The alert's own groups and those that they read: the rest would only cost time."""
    wanted = [group for group in groups() if any(alert.name == name for alert in group.alerts)]
    for group in reversed(groups()):
        read = {
            metric for own in wanted for rule in own.rules for metric in named(rule.expr).metrics
        }
        if group not in wanted and any(rule.record in read for rule in group.recordings):
            wanted.append(group)
    return [group for group in groups() if group in wanted]


def _matchers(name: str, labels: dict[str, str]) -> str:
    wanted = {"alertname": name, "alertstate": "firing", **labels}
    return "{" + ",".join(f'{label}="{value}"' for label, value in wanted.items()) + "}"


def _test_group(name: str, case: dict[str, Any], *, fires: bool) -> dict[str, Any]:
    alerts = f"ALERTS{_matchers(name, case.get('labels', {}))}"
    end_s = _seconds(case["at"])
    since_s = end_s - _seconds(case.get("from", "0m"))
    if fires:
        expr, samples = f"count({alerts})", [{"labels": "{}", "value": 1}]
    elif case.get("only_at_end"):
        expr, samples = f"count({alerts})", []
    else:
        expr, samples = f"count(max_over_time({alerts}[{since_s}s]))", []
    return {
        "name": case["when"],
        "interval": case.get("interval", "30s"),
        "input_series": [
            {"series": series, "values": values} for series, values in case["series"].items()
        ],
        "promql_expr_test": [{"expr": expr, "eval_time": case["at"], "exp_samples": samples}],
    }


def _seconds(minutes: str) -> int:
    return int(minutes.removesuffix("m")) * 60


def _promtool_test(directory: Path, name: str, cases: list[dict[str, Any]]) -> None:
    own = _groups_of(name)
    (directory / "rules.yaml").write_text(as_yaml(own))
    evaluated = {case["evaluated"] for case in cases}
    document = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": evaluated.pop(),
        "group_eval_order": [group.name for group in own],
        "tests": [case["test"] for case in cases],
    }
    (directory / "test.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    done = promtool("test", "rules", directory / "test.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def _expanded(name: str, kind: str) -> list[dict[str, Any]]:
    return [
        {
            "evaluated": case.get("evaluated", "30s"),
            "test": _test_group(name, case, fires=kind == "fires"),
        }
        for case in _cases()[name][kind]
    ]


@pytest.mark.parametrize("name", _NAMES)
def test_an_alert_fires(name: str, tmp_path: Path) -> None:
    _promtool_test(tmp_path, name, _expanded(name, "fires"))


@pytest.mark.parametrize("name", _NAMES)
def test_an_alert_stays_silent(name: str, tmp_path: Path) -> None:
    _promtool_test(tmp_path, name, _expanded(name, "silent"))


def test_every_rule_of_an_alert_is_seen_to_fire() -> None:
    alerts = [alert for group in groups() for alert in group.alerts]
    assert set(_cases()) == {alert.name for alert in alerts}
    unseen = [alert for alert in alerts if not any(map(alert_is(alert), _firing(alert.name)))]
    assert not unseen


def _firing(name: str) -> list[dict[str, str]]:
    return [case["labels"] for case in _cases()[name]["fires"]]


def alert_is(alert: Alert) -> Any:
    """Whether a case's labels are those of this rule, and not of another with the same name."""
    return lambda labels: (
        all(labels.get(k) in {None, v} for k, v in alert.labels.items())
        and (not alert.labels or "long_window" in labels)
    )
