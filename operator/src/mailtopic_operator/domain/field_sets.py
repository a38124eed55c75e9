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


def in_words(path: Path) -> str:
    """Return a path as people write it, such as spec.containers[sender].image."""
    words = ""
    for kind, step in path:
        if kind == "f":
            words += f".{step}" if words else str(step)
        else:
            items = step.values() if isinstance(step, Mapping) else (step,)
            words += f"[{','.join(str(item) for item in items)}]"
    return words


def writer(managed_fields: Iterable[Mapping[str, Any]], own: str, path: Path) -> str | None:
    """Return the manager that set a field last, apart from `own`; None if there is none."""
    found = [
        entry
        for entry in managed_fields
        if entry.get("manager") != own and _owns(entry.get("fieldsV1") or {}, path)
    ]
    if not found:
        return None
    latest = max(found, key=lambda entry: str(entry.get("time") or ""))
    through = f" through {latest['subresource']}" if latest.get("subresource") else ""
    return f"{latest['manager']}{through}"


def _owns(fields: Mapping[str, Any], path: Path) -> bool:
    """Whether a fieldsV1 holds the field of a path, or a part of it."""
    for kind, step in path:
        if not fields:
            return True
        name = f"f:{step}" if kind == "f" else _item(fields, step)
        if name is None or name not in fields:
            return False
        fields = fields[name]
    return True


def _item(fields: Mapping[str, Any], keys: Mapping[str, Any]) -> str | None:
    """Return the name in a fieldsV1 of the list item with these keys; a port has more of them."""
    for name in fields:
        kind, _, text = name.partition(":")
        if kind == "k" and keys.items() <= json.loads(text).items():
            return str(name)
    return None
