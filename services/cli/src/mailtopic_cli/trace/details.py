"""Which details of a mail's events are shown, and which values they may have. Pure.

Logs and topics may have any writer: only known names are accepted, and only values of the expected
form. No arbitrary text is shown.
"""

import re
from collections.abc import Mapping
from typing import Any

Details = dict[str, str | int | float]

_NUMBERS = frozenset(
    {
        "queue_ms",
        "wait_ms",
        "connect_ms",
        "transmit_ms",
        "waited_ms",
        "seconds",
        "partition",
        "offset",
        "not_before_ms",
    }
)
_WORD = re.compile(r"[a-z]{1,20}([-_][a-z]{1,20}){0,4}")
_TAG = re.compile(r"[0-9a-f]{12}")
_TEXTS = {
    # Relay names are settings; one with a number as long as a code is not shown.
    "relay": re.compile(r"(?!.*[0-9]{6})[A-Za-z0-9._\-]{1,253}"),
    "reply": _WORD,
    "phase": _WORD,
    "reason": _WORD,
    "smtp": re.compile(r"[2-5][0-9]{2}( [245]\.[0-9]{1,3}\.[0-9]{1,3})?"),
    "tier": re.compile(r"[1-9][0-9]{0,4}[smh]"),
    "recipient": _TAG,
    "signup": _TAG,
    "trace_id": re.compile(r"[0-9a-f]{32}"),
}


def known_details(data: Mapping[str, Any]) -> Details:
    """Return the data that may be shown, without everything else."""
    return {
        name: value
        for name, value in data.items()
        if _is_number(name, value) or _is_text(name, value)
    }


def _is_number(name: str, value: object) -> bool:
    return name in _NUMBERS and isinstance(value, int | float) and not isinstance(value, bool)


def _is_text(name: str, value: object) -> bool:
    pattern = _TEXTS.get(name)
    return pattern is not None and isinstance(value, str) and bool(pattern.fullmatch(value))
