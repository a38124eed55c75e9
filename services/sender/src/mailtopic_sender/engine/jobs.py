"""Runs queued records to completion, with or without a task."""

from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress
from functools import partial

from mailtopic_runtime import Logger
from mailtopic_sender.engine.assignment import Job
from mailtopic_sender.engine.delivery import Delivery
from mailtopic_sender.engine.dlq_gate import Parked
from mailtopic_sender.engine.lanes import Lanes, Slots
from mailtopic_sender.engine.lease import Abandoned
from mailtopic_sender.mail_ports import DeliveryResult
from mailtopic_sender.metrics import SenderMetrics

_RETRY_S = 1.0
_LONGEST_RETRY_S = 60.0


class JobRunner:
    """Runs the jobs of one consumer, and completes their records.

    Attributes:
        steps: how many times a record made progress, for the watchdog. Any thread may read it.
    """

    def __init__(
        self,
        delivery: Delivery,
        *,
        slots: Slots,
        let_go: Callable[[Job], None],
        crashed: Callable[[BaseException], None],
        metrics: SenderMetrics,
        log: Logger,
    ) -> None:
        """Start with nothing to do.

        Args:
            delivery: brings records to their outcomes.
            slots: bounds how many run at once.
            let_go: called with each job that isn't held any more, whatever its outcome.
            crashed: called with an error that must end the process.
            metrics: counts outcomes that come too late.
            log: gets a line for each bug.
        """
        self.steps = 0
        self._delivery = delivery
        self._let_go = let_go
        self._metrics = metrics
        self._log = log
        self._lanes: Lanes[Job] = Lanes(self._run, slots=slots, crashed=crashed, begin=self._begin)

    def put(self, job: Job) -> None:
        """Queue a job behind those with the same key."""
        self._lanes.put(job.incoming.record.key or None, job)

    async def cancel(self) -> None:
        """Cancel running jobs and drop queued ones."""
        await self._lanes.cancel()

    def _begin(self, job: Job, lane: Hashable) -> bool:
        """Start a job without a task, if it needs no decision."""
        lease = job.assignment.lease
        ended = partial(self._ended, job, lane)
        if lease.is_over or not self._delivery.begin(job.incoming, lease, ended):
            return False
        job.assignment.enter()
        return True

    def _ended(
        self,
        job: Job,
        lane: Hashable,
        is_done: bool,  # noqa: FBT001 - see `Ended`
        result: DeliveryResult | None,
    ) -> None:
        if is_done:
            self._complete(job)
            self._leave(job)
            self._lanes.end(lane, None)
        else:
            self._lanes.end(lane, self._go_on(job, result))

    async def _go_on(self, job: Job, result: DeliveryResult | None) -> None:
        """Continue a job that was started without a task and needs a decision."""
        lease = job.assignment.lease
        await self._bring_to_end(job, self._delivery.go_on(job.incoming, lease, result))

    async def _run(self, job: Job) -> None:
        lease = job.assignment.lease
        job.assignment.enter()
        if lease.is_over:
            self._leave(job)
        else:
            await self._bring_to_end(job, self._delivery.handle(job.incoming, lease))

    async def _bring_to_end(self, job: Job, handling: Awaitable[None]) -> None:
        try:
            with suppress(Abandoned):
                await self._handle(job, handling)
                self._complete(job)
        except Parked:
            job.partition.park(job.incoming.record.offset, job.tracker)
        finally:
            self._leave(job)

    async def _handle(self, job: Job, handling: Awaitable[None]) -> None:
        pause_s = _RETRY_S
        while True:
            try:
                await handling
            except (Abandoned, Parked, MemoryError):
                raise
            except Exception as error:  # noqa: BLE001 - a bug must not cost the record
                self._log.error("record.stuck", offset=job.incoming.record.offset, exc_info=error)
                self.steps += 1  # a bug, but not a standstill: a new process would do the same
                await job.assignment.lease.wait(None, timeout_s=pause_s)
                pause_s = min(pause_s * 2, _LONGEST_RETRY_S)
                handling = self._delivery.handle(job.incoming, job.assignment.lease)
            else:
                return

    def _complete(self, job: Job) -> None:
        if job.assignment.is_fenced or job.tracker is not job.partition.tracker:
            self._metrics.stale_completions.inc()
            return
        job.tracker.complete(job.incoming.record.offset)
        job.partition.is_dirty = True

    def _leave(self, job: Job) -> None:
        job.assignment.leave()
        self.steps += 1
        self._let_go(job)
