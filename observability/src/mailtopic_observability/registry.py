"""All generators. A new one is a line here."""

from typing import Final

from mailtopic_observability import dashboards, metrics_guide, rules
from mailtopic_observability.generate import Generator

GENERATORS: Final[tuple[Generator, ...]] = (
    metrics_guide.GENERATOR,
    dashboards.GENERATOR,
    rules.GENERATOR,
)
