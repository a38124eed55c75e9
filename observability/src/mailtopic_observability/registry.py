"""All generators. A new one is a line here."""

from typing import Final

from mailtopic_observability import dashboards, rules
from mailtopic_observability.generate import Generator

GENERATORS: Final[tuple[Generator, ...]] = (dashboards.GENERATOR, rules.GENERATOR)
