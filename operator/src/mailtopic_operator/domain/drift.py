"""Whether a live object is still as applied, and what others have added to it.

Server-side apply alone doesn't show this: it restores the fields it sends, at the cost of a write,
and leaves what others have added. So the live object is compared here, by its own fields.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

from mailtopic_operator.domain.children.common import MANAGER
from mailtopic_operator.domain.children.family import APPLIED
from mailtopic_operator.domain.children.merge import LIST_KEYS, is_keyed
from mailtopic_operator.domain.field_sets import Path, foreign_fields
from mailtopic_operator.domain.quantities import same_quantity

_EMPTY: Final[tuple[Any, ...]] = (None, False, 0, "", [], {})
"""Values that the API server drops: leaving them out is equivalent."""


def difference(
    manifest: Mapping[str, Any], live: Mapping[str, Any]
) -> Literal["changed", "drift"] | None:
    """Return why a child must be applied: the manifest changed, or the object did; None if not."""
    stamp = manifest["metadata"]["annotations"][APPLIED]
    if (live["metadata"].get("annotations") or {}).get(APPLIED) != stamp:
        return "changed"
    return None if first_difference(manifest, live) is None else "drift"


def first_difference(manifest: Any, live: Any, field: str = "") -> Path | None:
    """Return the path of the first field that isn't as wanted; None if all of them are.

    Maps and keyed lists may hold more than what is wanted.
    """
    if isinstance(manifest, Mapping) and isinstance(live, Mapping):
        for key, value in manifest.items():
            rest = first_difference(value, live.get(key), key)
            if rest is not None:
                return (("f", key), *rest)
        return None
    if isinstance(manifest, list) and isinstance(live, list):
        return _first_in_list(manifest, live, field)
    is_same = live == manifest or (manifest in _EMPTY and live in _EMPTY) or _same(live, manifest)
    return None if is_same else ()


def _first_in_list(wanted: list[Any], live: list[Any], field: str) -> Path | None:
    key = LIST_KEYS.get(field)
    if key is not None and is_keyed(live, key) and is_keyed(wanted, key):
        by_key = {item[key]: item for item in live}
        for item in wanted:
            rest = first_difference(item, by_key.get(item[key]))
            if rest is not None:
                return (("k", {key: item[key]}), *rest)
        return None
    if len(live) != len(wanted):
        return ()
    pairs = zip(wanted, live, strict=True)
    return next((() for one, other in pairs if first_difference(one, other) is not None), None)


def as_admitted(manifest: Any, applied: Any, field: str = "") -> Any:
    """Return the manifest with the values that the API server gave its fields when it was applied.

    An admission webhook may have changed some of them. Applying those again is no use: it would
    change them again.
    """
    if isinstance(manifest, Mapping) and isinstance(applied, Mapping):
        return {key: as_admitted(value, applied.get(key), key) for key, value in manifest.items()}
    key = LIST_KEYS.get(field)
    if (
        isinstance(manifest, list)
        and isinstance(applied, list)
        and key is not None
        and is_keyed(applied, key)
        and is_keyed(manifest, key)
    ):
        by_key = {item[key]: item for item in applied}
        return [as_admitted(item, by_key[item[key]]) for item in manifest if item[key] in by_key]
    return applied


def _same(live: Any, wanted: Any) -> bool:
    """Whether two values are the same amount: the API server rewrites 1000m as 1."""
    scalars = str | int | float
    return isinstance(live, scalars) and isinstance(wanted, scalars) and same_quantity(live, wanted)


def removals(manifest: Mapping[str, Any], live: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """Return RFC 6902 operations that remove what others have added to the spec of a child.

    Labels and annotations of the object itself stay: other tools use them.
    """
    paths = [
        path
        for path in foreign_fields(live["metadata"].get("managedFields") or (), MANAGER)
        if path[0] == ("f", "spec") and not _is_tolerated(path)
    ]
    found = {pointer for path in paths for pointer in _pointer(path, live, manifest)}
    if not found:
        return ()
    version = live["metadata"]["resourceVersion"]
    test = {"op": "test", "path": "/metadata/resourceVersion", "value": version}
    # Back to front, so that no removal shifts the paths of later ones.
    ordered = sorted(_outermost(found), key=_order, reverse=True)
    return (test, *({"op": "remove", "path": "/" + "/".join(p)} for p in ordered))


def _is_tolerated(path: Path) -> bool:
    # `kubectl rollout restart` writes it; removing it would restart everything once more.
    return path[-1] == ("f", "kubectl.kubernetes.io/restartedAt")


def _pointer(
    path: Path, live: Mapping[str, Any], manifest: Mapping[str, Any]
) -> Iterator[tuple[str, ...]]:
    """Yield the path of a foreign field in the live object, unless the manifest has it too."""
    pieces: list[str] = []
    there: Any = live
    ours: Any = manifest
    for kind, step in path:
        if kind == "f" and isinstance(there, Mapping) and step in there:
            there = there[step]
            ours = ours.get(step) if isinstance(ours, Mapping) else None
            pieces.append(str(step).replace("~", "~0").replace("/", "~1"))
        elif kind in {"k", "v"} and isinstance(there, list):
            place = _place(there, kind, step)
            if place is None:
                return
            there = there[place]
            mine = _place(ours, kind, step) if isinstance(ours, list) else None
            ours = ours[mine] if mine is not None else None
            pieces.append(str(place))
        else:
            return
        if ours is None:
            yield tuple(pieces)
            return


def _place(items: list[Any], kind: str, step: Any) -> int | None:
    for place, item in enumerate(items):
        if kind == "v" and item == step:
            return place
        if kind == "k" and isinstance(item, Mapping):
            # A key with a default, such as a port's protocol, may be omitted.
            given = [item[key] == value for key, value in step.items() if key in item]
            if given and all(given):
                return place
    return None


def _outermost(found: set[tuple[str, ...]]) -> list[tuple[str, ...]]:
    return [p for p in found if not any(p[:n] in found for n in range(1, len(p)))]


def _order(path: tuple[str, ...]) -> tuple[tuple[int, str], ...]:
    return tuple((int(piece), "") if piece.isdecimal() else (-1, piece) for piece in path)
