"""The types of rules, in Prometheus' terms: group, record, alert, expr, for."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import yaml

from mailtopic_observability.runbooks import runbook_url

INTERVAL_S: Final = 30
"""The evaluation interval of groups; the shortest `for` is two intervals."""


class Severity(StrEnum):
    """Whether an alert may wake a person."""

    PAGE = "page"
    """Mails don't arrive, or soon won't: act now."""
    TICKET = "ticket"
    """No impact yet, or a fallback works: act in working hours."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A series that is computed from others.

    Attributes:
        meaning: one sentence for the guide.
    """

    record: str
    expr: str
    meaning: str

    def as_dict(self) -> dict[str, Any]:
        """Return it in Prometheus' format."""
        return {"record": self.record, "expr": self.expr}


@dataclass(frozen=True, slots=True)
class Alert:
    """A problem that a person should know about.

    Attributes:
        name: several alerts may share one, if their labels differ.
        hold: Prometheus' `for`: how long the expression must hold.
        hold_reason: why exactly this long, for the guide.
        summary: one line without numbers.
        description: what is wrong, with numbers.
        expected_when: when this is expected; the end of the description.
        labels: those besides severity and component.
    """

    name: str
    expr: str
    hold: str
    hold_reason: str
    severity: Severity
    component: str
    summary: str
    description: str
    expected_when: str
    labels: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return it in Prometheus' format."""
        rule: dict[str, Any] = {"alert": self.name, "expr": self.expr}
        if self.hold != "0s":
            rule["for"] = self.hold
        rule["labels"] = {
            "severity": self.severity.value,
            "component": self.component,
            **self.labels,
        }
        rule["annotations"] = {
            "summary": self.summary,
            "description": f"{self.description} Expected when {self.expected_when}.",
            "runbook_url": runbook_url(self.name),
        }
        return rule


Rule = Recording | Alert


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that are evaluated in order, so later ones may use earlier ones."""

    name: str
    rules: tuple[Rule, ...]
    interval: str = f"{INTERVAL_S}s"

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """Only the alerts."""
        return tuple(rule for rule in self.rules if isinstance(rule, Alert))

    @property
    def recordings(self) -> tuple[Recording, ...]:
        """Only the recording rules."""
        return tuple(rule for rule in self.rules if isinstance(rule, Recording))

    def as_dict(self) -> dict[str, Any]:
        """Return it in Prometheus' format."""
        rules = [rule.as_dict() for rule in self.rules]
        return {"name": self.name, "interval": self.interval, "rules": rules}


class _Dumper(yaml.SafeDumper):
    """Writes expressions of several lines as literal blocks."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def as_yaml(groups: Iterable[Group]) -> str:
    """Return a rules file's text."""
    return yaml.dump(
        {"groups": [group.as_dict() for group in groups]},
        Dumper=_Dumper,
        sort_keys=False,
        width=10_000,
        allow_unicode=True,
    )
