"""Observes the Jobs of MailReplays and the termination messages of their pods."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from pydantic import ValidationError

from mailtopic_operator.domain.children import is_ours
from mailtopic_operator.domain.replay_planning import has_ended
from mailtopic_operator.domain.replays import DesiredReplay, ObservedReplay, newest_report
from mailtopic_operator.engine.failures import Failures
from mailtopic_operator.engine.replay_index import ReplayIndex
from mailtopic_operator.engine.store import Key, Store
from mailtopic_operator.kinds import POD
from mailtopic_operator.ports import Objects

_JOB_LABEL: Final = "batch.kubernetes.io/controller-uid"
"""The label that the Job controller sets on each pod."""


class ReplayObserver:
    """Observes MailReplays; Jobs come from the store, pods are requested if one has ended.

    Raises KubeError if the API server doesn't list the pods.
    """

    def __init__(
        self,
        *,
        objects: Objects,
        store: Store,
        replays: ReplayIndex,
        failures: Failures,
        concurrency: int,
    ) -> None:
        self._objects = objects
        self._store = store
        self._replays = replays
        self._failures = failures
        self._limit = asyncio.Semaphore(concurrency)

    async def observe(self, batch: Mapping[Key, DesiredReplay]) -> dict[Key, ObservedReplay]:
        """Return the observed state of each MailReplay of a batch."""
        found = await asyncio.gather(*(self._of(key, each) for key, each in batch.items()))
        return dict(zip(batch, found, strict=True))

    async def _of(self, key: Key, desired: DesiredReplay) -> ObservedReplay:
        failures, ahead = self._failures.of(key), self._ahead(key, desired)
        job = self._store.get(desired.job.kind, key.namespace, desired.job.name)
        if job is None:
            return ObservedReplay(ahead=ahead, failures=failures)
        if not is_ours(job, desired.meta):
            return ObservedReplay(is_name_taken=True, ahead=ahead, failures=failures)
        report = None
        if not has_ended(desired.status) and _has_ended_pods(job):
            async with self._limit:
                labels = {_JOB_LABEL: job["metadata"]["uid"]}
                report = newest_report(await self._objects.select(POD.kind, key.namespace, labels))
        return ObservedReplay(job, report=report, failures=failures)

    def _ahead(self, key: Key, desired: DesiredReplay) -> str | None:
        """Return the oldest of the other replays that this one must wait for."""
        # A dry run only counts, so it takes over nothing.
        if desired.spec.dry_run or has_ended(desired.status):
            return None
        older = [
            _order(other)
            for each in self._replays.beside(key)
            if (other := self._parse(each)) is not None
            and not other.spec.dry_run
            and not has_ended(other.status)
            and other.meta.deleting_since is None
            and _order(other) < _order(desired)
        ]
        return min(older)[1] if older else None

    def _parse(self, key: Key) -> DesiredReplay | None:
        body = self._store.get(*key)
        try:
            return DesiredReplay.parse(body, None) if body is not None else None
        except ValidationError:
            return None  # it never starts


def _order(replay: DesiredReplay) -> tuple[datetime, str]:
    return replay.meta.created_at, replay.meta.name


def _has_ended_pods(job: Mapping[str, Any]) -> bool:
    status = job.get("status") or {}
    return bool(status.get("failed") or status.get("succeeded") or status.get("conditions"))
