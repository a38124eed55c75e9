"""The managers of an object's fields: managedFields, as server-side apply keeps them."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

Step = tuple[str, Any]
"""("f", a field's name), ("k", an item's keys), ("v", an item's value)."""

Path = tuple[Step, ...]

_CONTROLLERS: Final = frozenset({"kube-controller-manager", "keda", "keda-operator"})
"""Managers that write into children as part of their work."""


def foreign_fields(managed_fields: Iterable[Mapping[str, Any]], own: str) -> Iterator[Path]:
    """Yield the fields that others have set, by hand or tool.

    Writes through a subresource (status, scale) are left out: that is how controllers write.
    """
    for entry in managed_fields:
        is_ours = entry.get("manager") == own or entry.get("manager") in _CONTROLLERS
        if not is_ours and not entry.get("subresource"):
            yield from leaves(entry.get("fieldsV1") or {})


def leaves(fields: Mapping[str, Any]) -> Iterator[Path]:
    """Yield the paths of a fieldsV1: of every leaf field, and of every item."""
    for name, below in fields.items():
        if name == ".":
            continue
        kind, _, text = name.partition(":")
        step: Step = (kind, text if kind == "f" else json.loads(text))
        if not below:
            yield (step,)
            continue
        if "." in below and kind != "f":
            yield (step,)
        for path in leaves(below):
            yield (step, *path)
