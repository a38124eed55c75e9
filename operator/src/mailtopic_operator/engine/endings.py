"""Which namespaces are being deleted: their finalizers must be removed while that is possible."""

from collections.abc import Mapping

from mailtopic_operator.domain.children.family import deployment_ref
from mailtopic_operator.domain.desired import Desired
from mailtopic_operator.domain.senders import wanted_replicas
from mailtopic_operator.engine.store import Key, Store
from mailtopic_operator.model.mailtopic import FINALIZER
from mailtopic_operator.ports import Apis


class Endings:
    """Finds namespaces that are being deleted, without a watch: that would need a ClusterRole.

    Kubernetes ends the pods of a namespace before anything else (since 1.33), so a namespace is
    checked if a MailTopic with a finalizer lacks senders, or is being deleted itself.
    """

    def __init__(self, apis: Apis, store: Store) -> None:
        self._apis = apis
        self._store = store
        self._known: set[str] = set()

    async def begins(self, namespace: str) -> bool:
        """Return whether a namespace is being deleted; from then on it is checked each time."""
        if not await self._apis.is_terminating(namespace):
            return False
        self._known.add(namespace)
        return True

    async def among(self, batch: Mapping[Key, Desired]) -> frozenset[str]:
        """Return the namespaces of a batch that are being deleted."""
        asked = {
            key.namespace
            for key, desired in batch.items()
            if key.namespace in self._known or self._may_go(key, desired)
        }
        found = {name for name in sorted(asked) if await self._apis.is_terminating(name)}
        # A namespace with the same name may be created later.
        self._known -= asked - found
        return frozenset(found)

    def _may_go(self, key: Key, desired: Desired) -> bool:
        if desired.meta.deleting_since is not None:
            return True
        if FINALIZER not in desired.meta.finalizers:
            return False
        ref = deployment_ref(desired)
        live = self._store.get(ref.kind, key.namespace, ref.name)
        if live is None:
            return True
        available = (live.get("status") or {}).get("availableReplicas", 0)
        return bool(available < wanted_replicas(live))
