"""Commits what is completed: monotonic, in one call for all partitions, never after a fence."""

import asyncio
from contextlib import suppress

from mailtopic_client import BrokerUnavailable
from mailtopic_runtime import Logger
from mailtopic_sender.engine.assignment import Assignment, Partition
from mailtopic_sender.engine.lease import Abandoned
from mailtopic_sender.engine.ledger import Ledger
from mailtopic_sender.engine.pace_carrier import PaceCarrier
from mailtopic_sender.engine.watermark import Snapshot, encode_snapshot
from mailtopic_sender.metrics import SenderMetrics
from mailtopic_sender.ports import CommitRejected, RecordSource

_RETRY_S = 1.0


class Committer:
    """Commits for one consumer, one commit at a time, so that none overtakes another.

    It doesn't promise that a commit succeeds: what failed is committed with the next one.
    """

    def __init__(
        self,
        source: RecordSource,
        ledger: Ledger,
        *,
        pace: PaceCarrier,
        metrics: SenderMetrics,
        log: Logger,
    ) -> None:
        self._source = source
        self._pace = pace
        self._ledger = ledger
        self._metrics = metrics
        self._log = log
        self._lock = asyncio.Lock()

    async def commit(self, assignment: Assignment) -> None:
        """Commit the progress of every partition that has any.

        A commit that the group rejects fences the assignment: this process has lost it.
        """
        async with self._lock:
            progress = [] if assignment.is_fenced else self._progress_of(assignment)
            if not progress:
                return
            try:
                await self._source.commit(
                    {partition.place: encode_snapshot(new) for partition, new in progress}
                )
            except CommitRejected:
                assignment.fence()
                self._metrics.commits_failed.inc()
                self._log.info("commit.rejected")
            except BrokerUnavailable:
                self._metrics.commits_failed.inc()
            else:
                for partition, new in progress:
                    partition.committed = new
            finally:
                # Also on cancellation: whether the broker has the commit is unknown then.
                for partition, new in progress:
                    partition.is_dirty |= partition.committed is not new

    async def commit_first(self, assignment: Assignment) -> None:
        """Commit the start of partitions without a commit, before any of their records is handled.

        So in a partition without a commit nothing was ever handled, and N.status needn't be read
        for it.
        """
        fresh = [p for p in assignment.partitions.values() if p.needs_first_commit]
        while fresh and not assignment.lease.is_over:
            for partition in fresh:
                partition.is_dirty = True
            await self.commit(assignment)
            fresh = [partition for partition in fresh if partition.needs_first_commit]
            if fresh:
                with suppress(Abandoned):
                    await assignment.lease.wait(None, timeout_s=_RETRY_S)

    def _progress_of(self, assignment: Assignment) -> list[tuple[Partition, Snapshot]]:
        progress: list[tuple[Partition, Snapshot]] = []
        partitions = assignment.partitions.values()
        pace = self._pace.text(sum(each.tracker.watermark is not None for each in partitions))
        for partition in partitions:
            if not partition.is_dirty and partition.carries == pace:
                continue
            partition.is_dirty = False
            position = self._ledger.position(partition.place.partition)
            new = partition.tracker.snapshot(position, pace)
            if new is not None and new != partition.committed:
                progress.append((partition, new))
        return progress
