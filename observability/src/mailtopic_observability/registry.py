"""All generators. Add a new one here."""

from typing import Final

from mailtopic_observability import dashboards, metrics_guide, rules
from mailtopic_observability.generate import Generator

GENERATORS: Final[tuple[Generator, ...]] = (
    metrics_guide.GENERATOR,
    dashboards.GENERATOR,
    rules.GENERATOR,
)
