"""The relays' limits for the next owner of a partition, as text. Pure.

Each partition carries a part of its owner's limits: ``p1;account,seen_s,rate,connections,mails;…``.
An account's limits at a relay are the sum of the parts, however partitions move: one sender that
becomes three, or three that become one, send as much as before.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from mailtopic_sender.domain.pace.facts import Learned

MOST_RELAYS = 8
"""Limits beyond these are not carried: the text has at most 450 characters."""
SURE_S = 3600
"""Older limits are only a hint of where to start."""
HINT_S = 86_400
"""Older limits are of no use."""
_AHEAD_S = 300
"""How much clocks may differ."""

_VERSION = "p1"
_ENTRY = re.compile(
    r"(?P<account>[A-Za-z0-9_-]{8}),(?P<seen>[0-9]{1,11}),(?P<rate>[0-9]{1,6}\.[0-9]{4})?,"
    r"(?P<connections>[0-9]{1,4}\.[0-9]{4})?,(?P<mails>[0-9]{1,7})?"
)
_SMALLEST = 0.0001
_MOST_PER_S, _MOST_CONNECTIONS, _MOST_MAILS = 100_000, 1000, 1_000_000


class CarriedError(ValueError):
    """Text that this version can't read, or that can't be true; the message says why."""


class Carried(NamedTuple):
    """Limits of one relay account, and when mails were last accepted under them (Unix seconds)."""

    seen_s: int
    rate_per_s: float | None = None
    connections: float | None = None
    mails_per_connection: int | None = None


def encode_carried(limits: Mapping[str, tuple[int, Learned]], partitions: int) -> str:
    """Return what each of this many partitions is to carry; nothing if no limit was met.

    Args:
        limits: by account, when mails were last accepted, and the limits that one process learned.
        partitions: how many share the limits; at least 1.
    """
    known = [(account, *each) for account, each in limits.items() if each[1] != Learned()]
    if not known:
        return ""
    entries = [
        f"{account},{seen_s},{_part(learned.rate_per_s, partitions)},"
        f"{_part(learned.connections, partitions)},{learned.mails_per_connection or ''}"
        for account, seen_s, learned in known[:MOST_RELAYS]
    ]
    return ";".join((_VERSION, *entries))


def _part(limit: float | None, partitions: int) -> str:
    return "" if limit is None else f"{max(_SMALLEST, limit / partitions):.4f}"


def decode_carried(text: str, now_s: float) -> dict[str, Carried]:
    """Return what a partition carried, by account; now_s is in Unix seconds.

    Raises:
        CarriedError: it is of another version, garbage, in the future or beyond any relay's limits.
    """
    if not text:
        return {}
    version, *entries = text.split(";")
    if version != _VERSION:
        raise CarriedError("it is of another version")
    if len(entries) > MOST_RELAYS:
        raise CarriedError("it is too long")
    found = {}
    for entry in entries:
        parts = _ENTRY.fullmatch(entry)
        if parts is None:
            raise CarriedError("it can't be read")
        found[parts["account"]] = _checked(parts, now_s)
    return found


def _checked(parts: re.Match[str], now_s: float) -> Carried:
    rate, connections, mails = parts["rate"], parts["connections"], parts["mails"]
    carried = Carried(
        int(parts["seen"]),
        None if rate is None else float(rate),
        None if connections is None else float(connections),
        None if mails is None else int(mails),
    )
    if carried.seen_s > now_s + _AHEAD_S:
        raise CarriedError("its time has not come yet")
    bounds = (_MOST_PER_S, _MOST_CONNECTIONS, _MOST_MAILS)
    for value, most in zip(carried[1:], bounds, strict=True):
        if value is not None and not 0 < value <= most:
            raise CarriedError("its numbers can't be true")
    return carried


def together(parts: Sequence[Carried]) -> Learned:
    """Return the limits for the owner of the partitions that carried these."""
    rates = _known(part.rate_per_s for part in parts)
    connections = _known(part.connections for part in parts)
    mails = [part.mails_per_connection for part in parts if part.mails_per_connection is not None]
    return Learned(
        min(_MOST_PER_S, sum(rates)) if rates else None,
        min(_MOST_CONNECTIONS, max(1, round(sum(connections)))) if connections else None,
        min(mails) if mails else None,
    )


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]
