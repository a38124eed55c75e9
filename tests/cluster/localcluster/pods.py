"""Which pod has which address now: pure bookkeeping between the gate and the watch."""

from dataclasses import dataclass
from typing import Any

from .policy import NamedPort, Pod

_ENDED = ("Succeeded", "Failed")
_Key = tuple[str, str]


@dataclass
class _Admitted:
    """A pod that the gate told of.

    Attributes:
        item: the pod as the API server gave it then.
        address: what its network got.
        is_watched: whether the watch has shown this very pod.
    """

    item: dict[str, Any]
    address: str
    is_watched: bool = False


class PodBook:
    """Pods by their addresses.

    The gate knows an address first, before any container of the pod starts. The API server learns
    it later, and goes on naming it for a pod that is ending when another one has it already: so
    what the gate said last is what counts.
    """

    def __init__(self) -> None:
        self._admitted: dict[_Key, _Admitted] = {}

    def admit(self, item: dict[str, Any], address: str) -> None:
        """Note that a pod has an address from now on, and no other pod has it."""
        for key, admitted in list(self._admitted.items()):
            if admitted.address == address:
                del self._admitted[key]
        self._admitted[_key(item)] = _Admitted(item, address)

    def current(self, watched: list[dict[str, Any]]) -> list[Pod]:
        """Return the pods with an address of their own, each address once.

        Args:
            watched: the pods as the watch shows them.
        """
        items = {_key(item): item for item in watched}
        for key, admitted in list(self._admitted.items()):
            seen = items.get(key)
            if seen is not None and _uid(seen) == _uid(admitted.item):
                admitted.is_watched = True
            elif admitted.is_watched:
                del self._admitted[key]  # gone, or another one of its name that has no address yet
            else:
                items[key] = admitted.item  # the watch is behind
        taken = {admitted.address for admitted in self._admitted.values()}
        pods = []
        for key, item in items.items():
            own = self._admitted.get(key)
            address = own.address if own else (item.get("status") or {}).get("podIP")
            if address and _has_own_network(item) and (own or address not in taken):
                taken.add(address)
                pods.append(_pod(item, address))
        return pods


def _has_own_network(item: dict[str, Any]) -> bool:
    status = item.get("status") or {}
    return not item["spec"].get("hostNetwork") and status.get("phase") not in _ENDED


def _pod(item: dict[str, Any], address: str) -> Pod:
    spec, metadata = item["spec"], item["metadata"]
    ports = tuple(
        NamedPort(port["name"], port.get("protocol", "TCP"), port["containerPort"])
        for container in [*spec["containers"], *(spec.get("initContainers") or [])]
        for port in container.get("ports") or []
        if port.get("name")
    )
    labels = metadata.get("labels") or {}
    return Pod(metadata["namespace"], metadata["name"], address, labels, ports)


def _key(item: dict[str, Any]) -> _Key:
    return item["metadata"]["namespace"], item["metadata"]["name"]


def _uid(item: dict[str, Any]) -> str:
    return str(item["metadata"]["uid"])
