"""Bytes as edits of a manifest: what a fuzzer makes of a custom resource.

Each edit is four bytes: which part of the manifest, what is done with it, and with which value.
"""

import copy
from collections.abc import Iterator
from typing import Any

_EDIT_BYTES = 4
_DEEP: Any = []
for _ in range(100):
    _DEEP = [_DEEP]
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 7, 65_536, 2**31, 2**63, -(2**63) - 1, 0.5, 1e308, 10**400),
    *("", " ", "x", "mails", "None", "null", "true", "1", "10s", "0s", "1h", "999999h", "24h"),
    *("10s\n", "\u0661\u0660s", "14/s", "0/s", "9" * 5_000, "x" * 300, "x" * 100_000),
    *("__consumer_offsets", "mails.dlq", ".", "..", "../secrets", "a/b", "a,b=c", "a\nb", "a\x00b"),
    *(
        "\u202e",
        "é",
        "9999-12-31T23:59:59Z",
        "0001-01-01T00:00:00+14:00",
        "2026-01-01",
        "{code}",
        "$(PATH)",
        "noreply@example.net",
        "a@b\r\nBcc: c@d",
    ),
    *([], [None], [[]], [1, "a"], ["10s", "1m"], ["1m", "10s"], ["10s", "10s"], ["a"] * 50, _DEEP),
    *({}, {"": None}, {"a": None}, {"name": "a"}, {"name": "a", "key": "b"}, {"labels": None}),
    *({"containers": [{"name": "sender"}]}, {"containers": [None]}, {"containers": "sender"}),
    *({"metadata": None}, {"metadata": 1}, {"spec": None}, {"spec": []}, {"labels": {"a": 1}}),
)


def edited(manifest: dict[str, Any], data: bytes) -> dict[str, Any]:
    """Return a copy of the manifest with the edits that the bytes say; its metadata stay."""
    made = copy.deepcopy(manifest)
    for begin in range(0, len(data) - _EDIT_BYTES + 1, _EDIT_BYTES):
        high, low, what, value = data[begin : begin + _EDIT_BYTES]
        places = list(_places(made))
        place, key = places[(high * 256 + low) % len(places)]
        # One in six each: taken out, beside something new, the same as another part.
        if what < 40:
            del place[key]
        elif what < 80 and isinstance(place, dict):
            place["later" if what % 2 else "name"] = copy.deepcopy(VALUES[value % len(VALUES)])
        elif what < 120:
            other, name = places[value % len(places)]
            place[key] = copy.deepcopy(other[name])
        else:
            place[key] = copy.deepcopy(VALUES[value % len(VALUES)])
    return made


def _places(manifest: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    """Yield each value's container and its key there; spec and status themselves, too."""
    for part in ("spec", "status"):
        manifest.setdefault(part, {})
        yield manifest, part
        yield from _within(manifest[part])


def _within(part: Any) -> Iterator[tuple[Any, Any]]:
    keys = (
        list(part) if isinstance(part, dict) else range(len(part)) if isinstance(part, list) else ()
    )
    for key in keys:
        yield part, key
        yield from _within(part[key])
