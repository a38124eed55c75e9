"""A replica's last actions before it ends because its whole namespace is being deleted."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from mailtopic_operator.engine.endings import Endings
from mailtopic_operator.engine.store import Key, Store
from mailtopic_operator.errors import KubeError, LeadershipLost
from mailtopic_operator.kinds import MAIL_TOPIC
from mailtopic_operator.model.mailtopic import FINALIZER
from mailtopic_operator.ports import Resources
from mailtopic_runtime import get_logger

Reconcile = Callable[[Sequence[Key]], Awaitable[None]]

_PATIENCE_S: Final = 5.0
"""Seconds for Kafka, which may be ending as well; a pod has 30 s in all."""


class LastActs:
    """Releases the MailTopics of a namespace that is being deleted: no later replica could.

    Args:
        reconcile: deletes the topics that must go, if Kafka is still reachable.
    """

    def __init__(
        self, *, store: Store, endings: Endings, reconcile: Reconcile, resources: Resources
    ) -> None:
        self._store = store
        self._endings = endings
        self._reconcile = reconcile
        self._resources = resources
        self._log = get_logger(__name__)

    async def perform(self, namespace: str) -> None:
        """Remove our finalizer from everything in a namespace, if that is being deleted.

        Args:
            namespace: the operator's own; the next leader handles the deletion of others.
        """
        if not self._held(namespace):
            return
        try:
            if not await self._endings.begins(namespace):
                return
            async with asyncio.timeout(_PATIENCE_S):
                await self._reconcile(self._held(namespace))
        except TimeoutError:
            self._log.warning("namespace.topics_left", namespace=namespace)
        except KubeError as error:
            self._log.warning("namespace.unknown", namespace=namespace, problem=str(error))
            return
        except LeadershipLost:
            return  # another replica acts
        for key in self._held(namespace):
            await self._let_go(key)

    def _held(self, namespace: str) -> list[Key]:
        return [
            key
            for key in self._store.keys(MAIL_TOPIC.kind)
            if key.namespace == namespace and self._finalizers(key)
        ]

    def _finalizers(self, key: Key) -> list[str] | None:
        """Return the finalizers if they include ours."""
        body = self._store.get(*key)
        found: list[str] = ((body or {}).get("metadata") or {}).get("finalizers") or []
        return found if FINALIZER in found else None

    async def _let_go(self, key: Key) -> None:
        body = self._store.get(*key)
        if body is None:
            return
        others = [each for each in body["metadata"]["finalizers"] if each != FINALIZER]
        version = body["metadata"]["resourceVersion"]
        try:
            await self._resources.patch_finalizers(key, others, version=version)
        except KubeError as error:
            self._log.warning("finalizer.left", name=key.name, problem=str(error))
