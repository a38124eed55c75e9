"""Turns events into work: events into the queue, the queue into batches, and the resync."""

import asyncio
import random
from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from mailtopic_operator.domain.defaults import OperatorDefaults
from mailtopic_operator.domain.desired import Desired
from mailtopic_operator.engine.backlog import BacklogSampler
from mailtopic_operator.engine.claims import Claims
from mailtopic_operator.engine.observer import Observer
from mailtopic_operator.engine.queue import BatchQueue
from mailtopic_operator.engine.reconciler import Reconciler
from mailtopic_operator.engine.replay_index import ReplayIndex
from mailtopic_operator.engine.sender_sampler import SenderSampler
from mailtopic_operator.engine.store import Key, Store, owner_of
from mailtopic_operator.errors import KubeError
from mailtopic_operator.kinds import MAIL_REPLAY, MAIL_TOPIC, OWN_KINDS, watched_kinds
from mailtopic_operator.metrics import OperatorMetrics
from mailtopic_operator.ports import Objects
from mailtopic_runtime import Clock, get_logger

_OWN: Final = frozenset(kind.kind for kind in OWN_KINDS)
_RETRY_S: Final = 2.0
_SAMPLE_S: Final = 60.0
"""Seconds that one sample of all senders may take."""
_VOLATILE: Final = frozenset({"resourceVersion", "managedFields"})


class Engine:
    """Keeps MailTopics and MailReplays reconciled, from `synchronise` until cancelled."""

    def __init__(
        self,
        *,
        objects: Objects,
        store: Store,
        claims: Claims,
        replays: ReplayIndex,
        queue: BatchQueue,
        observer: Observer,
        reconciler: Reconciler,
        backlog: BacklogSampler,
        senders: SenderSampler,
        defaults: OperatorDefaults,
        metrics: OperatorMetrics,
        clock: Clock,
        resync_s: float,
        sample_s: float,
    ) -> None:
        self._objects = objects
        self._store = store
        self._claims = claims
        self._replays = replays
        self._queue = queue
        self._observer = observer
        self._reconciler = reconciler
        self._backlog = backlog
        self._senders = senders
        self._defaults = defaults
        self._metrics = metrics
        self._clock = clock
        self._resync_s = resync_s
        self._sample_s = sample_s
        self._busy_since_s: float | None = None
        self._log = get_logger(__name__)
        self._is_stopping = False
        self.is_synchronised = False

    @property
    def busy_s(self) -> float:
        """Seconds since the current batch began; 0 if there is none."""
        since_s = self._busy_since_s
        return 0.0 if since_s is None else self._clock.monotonic_s() - since_s

    def stop(self) -> None:
        """Start no further batch."""
        self._is_stopping = True

    def on_event(self, kind: str, type_: str | None, item: Mapping[str, Any]) -> None:
        """Store a watch event and queue the resources that it affects."""
        meta = item["metadata"]
        before = self._store.get(kind, meta["namespace"], meta["name"])
        if type_ == "DELETED":
            if self._store.drop(kind, item):
                self._changed(kind, item)
        elif self._store.put(kind, item) and (before is None or _differ(kind, before, item)):
            self._changed(kind, item)

    def requeue_all(self) -> None:
        """Queue everything."""
        for kind in OWN_KINDS:
            for key in self._store.keys(kind.kind):
                self._queue.add(key)

    async def synchronise(self) -> None:
        """Read everything that concerns us, including what the watches have missed.

        Raises:
            KubeError: the API server didn't answer, or refused.
        """
        served = await self._observer.served()
        for kind in watched_kinds(served):
            items, version = await self._objects.listing(kind.kind)
            for item in self._store.replace(kind.kind, items, version):
                self._changed(kind.kind, item)
        self.is_synchronised = True
        self.requeue_all()
        self._metrics.managed_topics.set(self._claims.topics)

    async def resync(self) -> None:
        """Synchronise and requeue everything periodically, with jitter."""
        delay_s = self._resync_s
        while True:
            await asyncio.sleep(delay_s * random.uniform(0.9, 1.1))  # noqa: S311 - no secret
            try:
                await self.synchronise()
                delay_s = self._resync_s
            except KubeError as error:
                self._log.warning("resync.postponed", reason=str(error))
                delay_s = min(_RETRY_S, self._resync_s)

    async def sample(self) -> None:
        """Measure periodically what waits in the topics of all MailTopics."""
        while True:
            for key in await self._backlog.sample(self._wanted()):
                self._queue.add(key)
            await asyncio.sleep(self._sample_s)

    async def sample_senders(self) -> None:
        """Query periodically the senders of all MailTopics for pods and relays."""
        while True:
            try:
                async with asyncio.timeout(_SAMPLE_S):
                    changed = await self._senders.sample(self._wanted())
            except (KubeError, TimeoutError) as error:
                self._log.warning("senders.unknown", reason=str(error) or "senders are slow")
                changed = set()
            for key in changed:
                self._queue.add(key)
            await asyncio.sleep(self._sample_s)

    def _wanted(self) -> dict[Key, Desired]:
        """Return what every MailTopic that can be parsed asks for."""
        wanted: dict[Key, Desired] = {}
        for key in self._store.keys(MAIL_TOPIC.kind):
            body = self._store.get(*key)
            try:
                if body is not None:
                    wanted[key] = Desired.parse(body, self._defaults)
            except ValidationError:
                continue  # its own reconcile reports it
        return wanted

    async def work(self) -> None:
        """Reconcile batch after batch, until stopped."""
        while not self._is_stopping:
            batch = await self._queue.take()
            self._busy_since_s = self._clock.monotonic_s()
            try:
                await self._reconciler.reconcile(batch)
            finally:
                self._busy_since_s = None
                self._queue.done(batch)

    def _changed(self, kind: str, item: Mapping[str, Any]) -> None:
        meta = item["metadata"]
        if kind not in _OWN:
            owner = owner_of(item)
            if owner is not None and owner.kind in _OWN:
                self._queue.add(owner)
            return
        key = Key(kind, meta["namespace"], meta["name"])
        body = self._store.get(*key)
        concerned: set[Key] = set()
        if kind == MAIL_REPLAY.kind:
            concerned = self._replays.put(key, body)
        else:
            concerned = (
                self._claims.put(key, body, self._defaults) if body else self._claims.drop(key)
            )
            concerned |= self._replays.of(key)
        for other in concerned | {key}:
            self._queue.add(other)
        if body is None:
            self._backlog.forget(key)
            self._senders.forget(key)
        self._metrics.managed_topics.set(self._claims.topics)


def _differ(kind: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two versions of an object differ in anything that a plan may depend on."""
    return _essence(kind, one) != _essence(kind, other)


def _essence(kind: str, item: Mapping[str, Any]) -> dict[str, Any]:
    # Only the operator writes its own status, so a change of it is never news.
    left = {key: value for key, value in item.items() if kind not in _OWN or key != "status"}
    left["metadata"] = {k: v for k, v in item["metadata"].items() if k not in _VOLATILE}
    return left
