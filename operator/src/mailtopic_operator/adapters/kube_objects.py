"""The objects of a real cluster that concern the operator."""

import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from mailtopic_operator.adapters.kube_api import Json, KubeApi
from mailtopic_operator.domain.actions import Event
from mailtopic_operator.errors import KubeError, KubeForbidden, KubeNotFound
from mailtopic_operator.kinds import CHILD_KINDS, CHILD_SELECTOR, MANAGED_BY, kind_of
from mailtopic_runtime import get_logger

_NOTE_LENGTH: Final = 1024
_CHILDREN: Final = frozenset(kind.kind for kind in CHILD_KINDS)


class KubeObjects:
    """`Objects` and `Apis` by the API server.

    Args:
        api: makes the requests.
        namespaces: those to watch; empty: all.
    """

    def __init__(self, api: KubeApi, namespaces: Sequence[str]) -> None:
        self._api = api
        self._namespaces: Sequence[str | None] = tuple(namespaces) or (None,)

    async def listing(self, kind: str) -> tuple[Sequence[Json], str]:
        """Read all objects of a kind that concern the operator, and the list's version."""
        found: list[Json] = []
        versions: list[int] = []
        query = {"labelSelector": CHILD_SELECTOR} if kind in _CHILDREN else {}
        known = kind_of(kind)
        for namespace in self._namespaces:
            async for page in self._api.pages(known.path(namespace), **query):
                found += [
                    {**item, "apiVersion": known.api_version, "kind": kind} for item in page.items
                ]
                versions.append(page.version)
        # Each namespace was read at a different moment; the earliest version holds for all.
        return found, str(min(versions))

    async def select(self, kind: str, namespace: str, labels: Mapping[str, str]) -> Sequence[Json]:
        """Read the objects of a kind and namespace that carry all these labels."""
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        pages = self._api.pages(kind_of(kind).path(namespace), labelSelector=selector)
        return [item async for page in pages for item in page.items]

    async def read(self, kind: str, namespace: str, name: str) -> Json:
        """Read one object."""
        return await self._api.get(kind_of(kind).path(namespace, name))

    async def apply(self, kind: str, manifest: Json, *, force: bool) -> Json:
        """Apply a manifest server-side; return the resulting object."""
        meta = manifest["metadata"]
        path = kind_of(kind).path(meta["namespace"], meta["name"])
        return await self._api.apply(path, manifest, field_manager=MANAGED_BY, force=force)

    async def patch(self, kind: str, namespace: str, name: str, operations: Sequence[Json]) -> Json:
        """Patch an object by operations of RFC 6902; return the resulting object."""
        path = kind_of(kind).path(namespace, name)
        return await self._api.patch(path, list(operations), field_manager=MANAGED_BY)

    async def delete(
        self, kind: str, namespace: str, name: str, *, uid: str, propagation: str
    ) -> None:
        """Delete an object if it still has this uid; an absent one counts as deleted."""
        await self._api.delete(
            kind_of(kind).path(namespace, name), uid=uid, propagation=propagation
        )

    async def serves(self, kind: str) -> bool:
        """Return whether the API server serves a kind that needs a CRD."""
        known = kind_of(kind)
        try:
            offered = await self._api.get(known.root)
        except KubeNotFound:
            return False
        return any(resource["name"] == known.plural for resource in offered["resources"])

    async def is_terminating(self, namespace: str) -> bool:
        """Return whether a namespace is being deleted; False if that is unknown."""
        try:
            found = await self._api.get(f"/api/v1/namespaces/{namespace}")
        except (KubeForbidden, KubeNotFound):
            return False
        return "deletionTimestamp" in found["metadata"]


class KubeResources:
    """`Resources` by the API server.

    Args:
        api: makes the requests.
        identity: which replica the Events come from.
    """

    def __init__(self, api: KubeApi, identity: str) -> None:
        self._api = api
        self._identity = identity
        self._log = get_logger(__name__)

    async def patch_status(self, key: tuple[str, str, str], patch: Json) -> Json:
        """Merge-patch the status of a resource (kind, namespace, name)."""
        kind, namespace, name = key
        path = kind_of(kind).path(namespace, name) + "/status"
        return await self._api.patch(path, patch, field_manager=MANAGED_BY)

    async def patch_finalizers(
        self, key: tuple[str, str, str], finalizers: Sequence[str], *, version: str
    ) -> Json:
        """Replace the finalizers of a resource if it still has this version."""
        kind, namespace, name = key
        patch = {"metadata": {"finalizers": list(finalizers), "resourceVersion": version}}
        path = kind_of(kind).path(namespace, name)
        return await self._api.patch(path, patch, field_manager=MANAGED_BY)

    async def emit(self, resource: Mapping[str, Any], event: Event, action: str) -> None:
        """Record an Event about a resource; if that fails, it is logged and lost."""
        meta = resource["metadata"]
        namespace = meta["namespace"]
        body = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {
                "name": f"{meta['name']}.{secrets.token_hex(8)}",
                "namespace": namespace,
            },
            "eventTime": datetime.now(UTC).isoformat(timespec="microseconds"),
            "reportingController": f"mailtopic.dev/{MANAGED_BY}",
            "reportingInstance": self._identity,
            "action": action,
            "reason": event.reason,
            "type": event.type,
            "note": event.message[:_NOTE_LENGTH],
            "regarding": {
                "apiVersion": resource["apiVersion"],
                "kind": resource["kind"],
                "namespace": namespace,
                "name": meta["name"],
                "uid": meta["uid"],
                "resourceVersion": meta["resourceVersion"],
            },
        }
        try:
            await self._api.create(f"/apis/events.k8s.io/v1/namespaces/{namespace}/events", body)
        except KubeError as error:
            self._log.warning("event.lost", reason=event.reason, problem=str(error))


class KubeLease:
    """`Leases` by the API server."""

    def __init__(self, api: KubeApi, namespace: str, name: str) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name
        self._path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"

    async def read(self) -> Json:
        """Read the Lease."""
        return await self._api.get(f"{self._path}/{self._name}")

    async def create(self, spec: Json) -> Json:
        """Create the Lease; KubeConflict if another replica was faster."""
        meta = {"name": self._name, "namespace": self._namespace}
        body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta}
        return await self._api.create(self._path, {**body, "spec": spec})

    async def replace(self, lease: Json) -> Json:
        """Replace the Lease by one with its version; KubeConflict if another replica was faster."""
        return await self._api.replace(f"{self._path}/{self._name}", lease)
