"""The format of log lines, and the removal of addresses from them."""

import json
import re
import time
from collections.abc import Callable
from typing import Any, Final

import structlog
from pydantic_core import to_json

LineRenderer = Callable[[dict[str, Any]], str]
"""Formats an event's fields as a line, without the line break."""

_ADDRESS_LIKE = re.compile(r"[^\s@<>\"'=:,;(){}\[\]]+@(?=[^\s@])")
_PLAIN: Final = frozenset({str, int, float, bool, type(None)})
_second: tuple[int, str] = (0, "")


def redact_addresses(text: str) -> str:
    """Return a text with the local part of every address removed."""
    return _ADDRESS_LIKE.sub("***@", text)


def json_line(fields: dict[str, Any]) -> str:
    """Return an event as one compact JSON object."""
    if _PLAIN.issuperset(map(type, fields.values())):
        line = _encoded(fields)
        if "@" not in line:
            return line
    return _encoded(_redacted(fields))


def text_line(*, colours: bool) -> LineRenderer:
    """Return what makes lines for a person at a terminal."""
    render = structlog.dev.ConsoleRenderer(colors=colours)

    def line(fields: dict[str, Any]) -> str:
        return str(render(None, "", _redacted(fields)))

    return line


def now() -> str:
    """Return the time in a line's format: RFC 3339, UTC, to the microsecond."""
    global _second  # noqa: PLW0603 - all but the fraction is the same a million times
    micros = time.time_ns() // 1000
    second, fraction = divmod(micros, 1_000_000)
    known, text = _second
    if known != second:
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        _second = (second, text)
    return f"{text}.{fraction:06d}Z"


def _encoded(fields: dict[str, Any]) -> str:
    try:
        return to_json(fields).decode()
    except ValueError:  # a lone surrogate, which UTF-8 can't hold and an escape can
        return json.dumps(fields, separators=(",", ":"))


def _redacted(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: _plain(value) for key, value in fields.items()}


def _plain(value: Any) -> str | float | None:
    if value is None or isinstance(value, int | float):
        return value
    return redact_addresses(value if isinstance(value, str) else str(value))
