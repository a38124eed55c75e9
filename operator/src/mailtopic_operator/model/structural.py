"""Makes structural schemas, as CRDs require, from pydantic's."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

_DROPPED = frozenset({"title", "$defs", "exclusiveMinimum"})
_LONG = frozenset({"observedGeneration", "records"})


def structural(model: type[BaseModel], *, defaults: bool = True) -> dict[str, Any]:
    """Return a schema without references, with one type everywhere and defaults at every level.

    Args:
        model: the type.
        defaults: whether to keep defaults; a status has none.
    """
    schema = model.model_json_schema(by_alias=True)
    return _Builder(schema.get("$defs", {}), defaults=defaults).build(schema)


class _Builder:
    def __init__(self, defs: Mapping[str, Any], *, defaults: bool) -> None:
        self._defs = defs
        self._defaults = defaults

    def build(self, node: Mapping[str, Any], name: str = "") -> dict[str, Any]:
        node = self._resolved(node)
        made: dict[str, Any] = {}
        for key in sorted(node.keys() - _DROPPED, key=_rank):
            made |= self._entry(key, node[key])
        if made.get("type") == "integer":
            made["format"] = "int64" if name in _LONG else "int32"
        if made.get("type") == "object" and "properties" not in made:
            made.setdefault("additionalProperties", True)
        return _free_form(made)

    def _entry(self, key: str, value: Any) -> dict[str, Any]:
        if key == "description":
            return {key: " ".join(value.split())}
        if key == "default":
            return {key: value} if self._defaults and value not in (None, []) else {}
        if key == "properties":
            return {key: {name: self._property(name, part) for name, part in value.items()}}
        if key in {"items", "additionalProperties"} and isinstance(value, Mapping):
            return {key: self.build(value)}
        return {key: value}

    def _property(self, name: str, part: Mapping[str, Any]) -> dict[str, Any]:
        made = self.build(part, name)
        # An omitted object still has its defaults, unless it has a required field.
        is_optional = "default" not in part and "$ref" in part and not made.get("required")
        if self._defaults and made.get("type") == "object" and is_optional:
            made["default"] = {}
        return made

    def _resolved(self, node: Mapping[str, Any]) -> dict[str, Any]:
        """Replace a reference by its target, and a choice between a type and null by the type."""
        own = {key: value for key, value in node.items() if key not in {"$ref", "anyOf"}}
        if "$ref" in node:
            return self._resolved(self._defs[node["$ref"].rpartition("/")[2]]) | own
        if "anyOf" in node:
            (only,) = [part for part in node["anyOf"] if part.get("type") != "null"]
            if "default" not in node and "null" in {part.get("type") for part in node["anyOf"]}:
                own["nullable"] = True
            return self._resolved(only) | own
        return own


def _free_form(made: dict[str, Any]) -> dict[str, Any]:
    if made.get("additionalProperties") is True:
        del made["additionalProperties"]
        made["x-kubernetes-preserve-unknown-fields"] = True
    return made


_ORDER = ("description", "type", "format", "default", "enum", "required", "properties", "items")


def _rank(key: str) -> tuple[int, str]:
    return (_ORDER.index(key) if key in _ORDER else len(_ORDER), key)
