"""Strategic merge of a user's partial pod template into ours, as kubectl patches pods."""

from collections.abc import Mapping
from typing import Any, Final

LIST_KEYS: Final = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "env": "name",
    "volumeMounts": "mountPath",
    "ports": "containerPort",
    "imagePullSecrets": "name",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
    "ownerReferences": "uid",
}
"""Lists with items that a key identifies; other lists are replaced as a whole."""


def merge(ours: Any, theirs: Any, field: str = "") -> Any:
    """Return ours with theirs merged over it. A null removes a field."""
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        return _merge_maps(ours, theirs)
    key = LIST_KEYS.get(field)
    if key is not None and is_keyed(ours, key) and is_keyed(theirs, key):
        return _merge_lists(ours, theirs, key)
    return theirs


def _merge_maps(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(ours)
    for name, value in theirs.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(ours[name], value, name) if name in ours else value
    return merged


def _merge_lists(ours: list[Any], theirs: list[Any], key: str) -> list[Any]:
    over = {item[key]: item for item in theirs}
    merged = [merge(item, over.pop(item[key], {})) for item in ours]
    return [*merged, *over.values()]


def is_keyed(items: Any, key: str) -> bool:
    """Whether all items of a list have the key."""
    return isinstance(items, list) and all(isinstance(i, Mapping) and key in i for i in items)
