"""Which alerts reach people, by the rules for Alertmanager that the guide shows."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

GUIDE: Final = Path(__file__).parents[2] / "docs/guides/observability.md"
_MATCHER: Final = re.compile(r'(\w+)(=~|=)"(.*)"')

Labels = Mapping[str, str]


def not_inhibited(firing: Sequence[Labels]) -> list[Labels]:
    """Return the alerts that no other one of those that fire explains."""
    rules = _rules()
    return [
        alert
        for alert in firing
        if not any(_inhibits(rule, source, alert) for rule in rules for source in firing)
    ]


def _rules() -> list[Any]:
    (block,) = re.findall(r"```yaml\n(route:\n.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    rules: list[Any] = yaml.safe_load(block)["inhibit_rules"]
    return rules


def _inhibits(rule: Any, source: Labels, target: Labels) -> bool:
    return (
        _fit(rule["source_matchers"], source)
        and _fit(rule["target_matchers"], target)
        and all(source.get(name, "") == target.get(name, "") for name in rule["equal"])
    )


def _fit(matchers: Sequence[str], labels: Labels) -> bool:
    return all(_fits(matcher, labels) for matcher in matchers)


def _fits(matcher: str, labels: Labels) -> bool:
    found = _MATCHER.fullmatch(matcher)
    assert found is not None, matcher
    name, operator, value = found.groups()
    wanted = value if operator == "=~" else re.escape(value)
    return re.fullmatch(wanted, labels.get(name, "")) is not None
