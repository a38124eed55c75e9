"""Find the strategic merge patch that makes one Kubernetes object into another.

Knows the lists of pods that are merged by a key; every other list is replaced as a whole, as
kustomize does. What it finds is proved by applying it: kustomize builds what the chart renders.
"""

from collections.abc import Mapping, Sequence
from typing import Any

# By the list's field: the key of its elements.
_KEYS = {
    "initContainers": "name",
    "containers": "name",
    "volumes": "name",
    "env": "name",
    "volumeMounts": "mountPath",
}
_DELETE = {"$patch": "delete"}

Object = Mapping[str, Any]


def patch(before: Object, after: Object) -> dict[str, Any]:
    """Return the patch that makes ``before`` into ``after``; both are of one kind and name."""
    identity = {"apiVersion": after["apiVersion"], "kind": after["kind"]}
    name = {"name": after["metadata"]["name"]}
    changed = _maps(before, after)
    return {**identity, "metadata": {**name, **changed.pop("metadata", {})}, **changed}


def removal(before: Object) -> dict[str, Any]:
    """Return the patch that takes an object away."""
    return {
        "apiVersion": before["apiVersion"],
        "kind": before["kind"],
        "metadata": {"name": before["metadata"]["name"]},
        **_DELETE,
    }


def in_key_order(value: Any, field: str = "") -> Any:
    """Return a value with its merged lists sorted by key: two that differ in order alone are equal.

    Their order means nothing to Kubernetes, but for variables that refer to others.
    """
    if isinstance(value, Mapping):
        return {name: in_key_order(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        inner = [in_key_order(each) for each in value]
        key = _KEYS.get(field)
        return sorted(inner, key=lambda each: str(each[key])) if key else inner
    return value


def _maps(before: Object, after: Object) -> dict[str, Any]:
    changed: dict[str, Any] = {name: None for name in before if name not in after}
    for name, value in after.items():
        if name not in before:
            changed[name] = value
        elif before[name] != value:
            changed[name] = _values(name, before[name], value)
    return changed


def _values(field: str, before: Any, after: Any) -> Any:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        return _maps(before, after)
    if isinstance(before, list) and isinstance(after, list) and field in _KEYS:
        return _lists(_KEYS[field], before, after)
    return after


def _lists(key: str, before: Sequence[Object], after: Sequence[Object]) -> list[Any]:
    had = {each[key]: each for each in before}
    has = {each[key] for each in after}
    gone: list[Any] = [{key: name, **_DELETE} for name in had if name not in has]
    changed: list[Any] = []
    for each in after:
        if each[key] not in had:
            changed.append(each)
        elif had[each[key]] != each:
            changed.append({key: each[key], **_maps(had[each[key]], each)})
    return changed + gone
