"""Lines that are written thousands of times a second with different values."""

from collections.abc import Iterator, Mapping
from enum import Enum

from mailtopic_runtime.log_lines import json_line


class Blank(Enum):
    """A value that is filled in each time a line is written.

    A WORD is a text of letters, digits and hyphens, such as an id, and is written as it is, without
    escaping. TENTHS are a number of which one decimal place is of interest.
    """

    WORD = '"%s"'
    NUMBER = "%s"
    TENTHS = "%.1f"


LineFields = Mapping[str, str | float | Blank | None]


def json_form(fields: LineFields) -> str:
    """Return a JSON line to be formatted with ``%``: its blanks in order, then the time."""
    return f'{{{",".join(_member(name, value) for name, value in fields.items())},"time":"%s"}}'


def filled(fields: LineFields, values: tuple[object, ...]) -> dict[str, object]:
    """Return the fields with values in place of their blanks."""
    following = iter(values)
    return {name: _value(value, following) for name, value in fields.items()}


def _value(value: str | float | Blank | None, following: Iterator[object]) -> object:
    if not isinstance(value, Blank):
        return value
    given = next(following)
    return f"{given:.1f}" if value is Blank.TENTHS else given


def _member(name: str, value: str | float | Blank | None) -> str:
    if isinstance(value, Blank):
        return json_line({name: 0})[1:-2].replace("%", "%%") + value.value
    return json_line({name: value})[1:-1].replace("%", "%%")
