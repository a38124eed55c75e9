"""The generated files: rules for Prometheus and the chart, and the list of alerts."""

from typing import Final

from mailtopic_observability.generate import RENEW, Files, Generator
from mailtopic_observability.rules import (
    delivery,
    kafka,
    operator,
    parameters,
    relays,
    scraping,
    signup,
    slo,
)
from mailtopic_observability.rules.model import Group, as_yaml
from mailtopic_observability.rules.overview import overview
from mailtopic_observability.rules.parameters import DEFAULTS, Parameters

_DIRECTORY: Final = "charts/mailtopic/files/rules"
_HEAD: Final = f"# Written by {RENEW}; `promtool check rules` reads it, and Prometheus as it is.\n"


def groups(parameters_: Parameters = DEFAULTS) -> tuple[Group, ...]:
    """Return all groups; groups that others depend on come first."""
    return (*_of_mailtopic(parameters_), kafka.group())


def _of_mailtopic(parameters_: Parameters) -> tuple[Group, ...]:
    return (
        parameters.group(parameters_),
        *slo.groups(parameters_),
        delivery.group(),
        relays.group(),
        signup.group(),
        operator.group(),
        scraping.group(),
    )


def files(parameters_: Parameters = DEFAULTS) -> Files:
    """Return the files to write, by path."""
    return {
        f"{_DIRECTORY}/mailtopic.yaml": _HEAD + as_yaml(_of_mailtopic(parameters_)),
        f"{_DIRECTORY}/kafka.yaml": _HEAD + as_yaml((kafka.group(),)),
        "docs/runbooks/README.md": overview(groups(parameters_)),
    }


GENERATOR: Final = Generator(
    name="rules",
    owns=(f"{_DIRECTORY}/*.yaml", "docs/runbooks/README.md"),
    files=files,
)
