"""Amounts as Kubernetes writes them: 500m, 64Mi, 1."""

import re
from decimal import Decimal
from typing import Final

_QUANTITY: Final = re.compile(r"([+-]?[0-9]+(?:\.[0-9]*)?|[+-]?\.[0-9]+)([A-Za-z]*)")
_DECIMAL: Final = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15}
_BINARY: Final = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}


def same_quantity(one: str | float, other: str | float) -> bool:
    """Whether two values are the same amount; False if one of them isn't an amount."""
    amount = quantity(one)
    return amount is not None and amount == quantity(other)


def quantity(value: str | float) -> Decimal | None:
    """Return an amount in units; None if the value isn't an amount."""
    match = _QUANTITY.fullmatch(str(value))
    if match is None:
        return None
    number, suffix = Decimal(match[1]), match[2]
    if suffix in _BINARY:
        return number * Decimal(1 << _BINARY[suffix])
    if suffix == "E":
        return number.scaleb(18)
    return number.scaleb(_DECIMAL[suffix]) if suffix in _DECIMAL else None
