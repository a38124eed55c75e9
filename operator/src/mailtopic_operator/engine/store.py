"""A cache of the API server's objects, as last seen."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from mailtopic_operator.kinds import MAIL_TOPIC, OWNER_LABEL

Json = dict[str, Any]


class Key(NamedTuple):
    """One resource of the operator's own."""

    kind: str
    namespace: str
    name: str


class _Address(NamedTuple):
    kind: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class _Kept:
    """An object as bytes: as dicts, a thousand of them would take ten times the memory."""

    uid: str
    version: int
    owner: str | None
    content: bytes

    def load(self) -> Json:
        found: Json = json.loads(self.content)
        return found


class Store:
    """Objects by kind, namespace and name, and children by owner.

    Fed by watches, lists and the answers to our own writes, in any order: an older version than the
    stored one changes nothing.
    """

    def __init__(self) -> None:
        self._objects: dict[_Address, _Kept] = {}
        self._children: dict[str, set[_Address]] = {}

    def put(self, kind: str, item: Mapping[str, Any]) -> bool:
        """Store an object; return whether its content is new."""
        address, kept = _address(kind, item), _keep(item)
        known = self._objects.get(address)
        if known is not None and known.version >= kept.version:
            return False
        self._unlink(address)
        self._objects[address] = kept
        if kept.owner is not None:
            self._children.setdefault(kept.owner, set()).add(address)
        return known is None or known.content != kept.content

    def drop(self, kind: str, item: Mapping[str, Any]) -> bool:
        """Forget a deleted object; return whether it was stored."""
        address, gone = _address(kind, item), _keep(item)
        known = self._objects.get(address)
        if known is None or (known.uid != gone.uid and known.version > gone.version):
            return False
        self._unlink(address)
        return True

    def forget(self, kind: str, namespace: str, name: str) -> None:
        """Forget an object that was found to be gone."""
        self._unlink(_Address(kind, namespace, name))

    def replace(self, kind: str, items: Iterable[Json], version: str) -> list[Json]:
        """Store a whole list, as of a version; return the objects that changed or are gone."""
        changed: list[Json] = []
        listed: set[_Address] = set()
        for item in items:
            listed.add(_address(kind, item))
            if self.put(kind, item):
                changed.append(item)
        for address, kept in list(self._objects.items()):
            if address.kind == kind and address not in listed and kept.version <= int(version):
                changed.append(kept.load())
                self._unlink(address)
        return changed

    def get(self, kind: str, namespace: str, name: str) -> Json | None:
        """Return a copy of an object, or None."""
        kept = self._objects.get(_Address(kind, namespace, name))
        return kept.load() if kept else None

    def children(self, owner: Mapping[str, Any]) -> list[tuple[str, Json]]:
        """Return the children of a resource, each with its kind.

        A child without its owner reference, removed by hand, is still found by its label.
        """
        meta = owner["metadata"]
        ids = (meta["uid"], _labelled(meta["namespace"], meta["name"]))
        addresses = [each for owner_id in ids for each in self._children.get(owner_id, ())]
        return [(address.kind, self._objects[address].load()) for address in sorted(addresses)]

    def keys(self, kind: str) -> list[Key]:
        """Return all resources of a kind."""
        return [Key(*address) for address in self._objects if address.kind == kind]

    def bodies(self, kind: str) -> list[Json]:
        """Return copies of all resources of a kind; callable from any thread."""
        # Copying a dict's items is one step of the interpreter: it can't change meanwhile.
        return [
            kept.load() for address, kept in list(self._objects.items()) if address.kind == kind
        ]

    def __len__(self) -> int:
        """Count all objects."""
        return len(self._objects)

    def _unlink(self, address: _Address) -> None:
        known = self._objects.pop(address, None)
        if known is not None and known.owner is not None:
            siblings = self._children[known.owner]
            siblings.discard(address)
            if not siblings:
                del self._children[known.owner]


def owner_of(item: Mapping[str, Any]) -> Key | None:
    """Return the MailTopic or MailReplay that a child belongs to."""
    controller, namespace = _controller(item), item["metadata"]["namespace"]
    if controller is not None:
        return Key(controller["kind"], namespace, controller["name"])
    name = _label(item)
    return Key(MAIL_TOPIC.kind, namespace, name) if name else None


def _controller(item: Mapping[str, Any]) -> Mapping[str, Any] | None:
    owners = item["metadata"].get("ownerReferences") or ()
    return next((owner for owner in owners if owner.get("controller")), None)


def _label(item: Mapping[str, Any]) -> str | None:
    return (item["metadata"].get("labels") or {}).get(OWNER_LABEL)


def _labelled(namespace: str, name: str) -> str:
    return f"{namespace}/{name}"


def _address(kind: str, item: Mapping[str, Any]) -> _Address:
    return _Address(kind, item["metadata"]["namespace"], item["metadata"]["name"])


def _keep(item: Mapping[str, Any]) -> _Kept:
    meta = item["metadata"]
    controller, label = _controller(item), _label(item)
    owner = controller["uid"] if controller else None
    if owner is None and label is not None:
        owner = _labelled(meta["namespace"], label)
    return _Kept(
        uid=meta["uid"],
        # Versions are growing numbers (KEP-5504); before 1.35 that was true but not promised.
        version=int(meta["resourceVersion"]),
        owner=owner,
        content=json.dumps(item, separators=(",", ":")).encode(),
    )
