"""The loop: poll → receive → dispatch → commit; pause and resume; drain."""

import asyncio
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass

from mailtopic_contract import to_ms
from mailtopic_runtime import Clock, get_logger
from mailtopic_sender.engine.assignment import Assignment, Job
from mailtopic_sender.engine.batches import SLICE
from mailtopic_sender.engine.committer import Committer
from mailtopic_sender.engine.delivery import Delivery
from mailtopic_sender.engine.dlq_gate import DlqGate
from mailtopic_sender.engine.jobs import JobRunner
from mailtopic_sender.engine.lag import LagMeter
from mailtopic_sender.engine.lanes import Slots
from mailtopic_sender.engine.ledger import Ledger
from mailtopic_sender.engine.pace_carrier import PaceCarrier
from mailtopic_sender.engine.preparing import Preparer
from mailtopic_sender.engine.progress import Progress
from mailtopic_sender.engine.tiers import RetryHold
from mailtopic_sender.engine.watermark import WINDOW
from mailtopic_sender.metrics import SenderMetrics
from mailtopic_sender.ports import (
    ConsumedRecord,
    MeteredSource,
    SourceBroken,
    TopicPartition,
)

_MAX_POLL_RECORDS = 500
_WINDOW_FULL = WINDOW - 2 * _MAX_POLL_RECORDS
_WINDOW_ROOM = WINDOW * 3 // 4
MAX_PARKED = 4 * WINDOW
"""When more records wait for the DLQ, partitions with such records are paused: some 20 MB."""

_HALF = 0.5
_RETRY_S = 1.0
_FINAL_COMMIT_S = 4.0
_LEAVE_S = 5.0


@dataclass(frozen=True, slots=True)
class PumpSettings:
    """A pump's intake limits and timeouts.

    Attributes:
        name: the consumer's name in logs and metrics.
        max_held_records: intake stops at this many dispatched records and resumes at half of it.
        max_held_bytes: the same, in bytes.
        commit_interval_s: how often progress is committed.
        poll_timeout_s: how long one poll waits.
        pause_after_s: if there is no room again within this time, partitions are paused and polling
            continues. Not at once, because a pause discards all that was prefetched.
        drain_timeout_s: how long running mails may take to end; below the rebalance timeout.
    """

    name: str
    max_held_records: int = 400
    max_held_bytes: int = 8 * 1024 * 1024
    commit_interval_s: float = 0.5
    poll_timeout_s: float = 0.2
    pause_after_s: float = 2.0
    drain_timeout_s: float = 25.0


class Pump:
    """One consumer from assignment to assignment: an AssignmentListener with a loop.

    It promises that no offset is committed before its outcome is recorded. Records that are
    incomplete when a lease ends are delivered again, to the partition's next owner.
    """

    def __init__(
        self,
        source: MeteredSource,
        delivery: Delivery,
        *,
        hold: RetryHold,
        ledger: Ledger,
        dlq: DlqGate,
        slots: Slots,
        settings: PumpSettings,
        progress: Progress,
        metrics: SenderMetrics,
        clock: Clock,
        share: Callable[[float], None],
        pace: PaceCarrier,
    ) -> None:
        self._source = source
        self._delivery = delivery
        self._hold = hold
        self._ledger = ledger
        self._dlq = dlq
        self._slots = slots
        self._settings = settings
        self._progress = progress
        self._metrics = metrics
        self._clock = clock
        self._lag = LagMeter(metrics, clock)
        self._share = share
        self._pace = pace
        self._assignment: Assignment | None = None
        self._paused: set[TopicPartition] = set()
        self._held_records = 0
        self._held_bytes = 0
        self._is_full = False
        self._has_room = asyncio.Event()
        self._crash: asyncio.Future[None] | None = None
        self._log = get_logger(__name__).bind(consumer=settings.name)
        self._committer = Committer(source, ledger, pace=pace, metrics=metrics, log=self._log)
        self._preparer = Preparer(
            source,
            ledger,
            consumer=settings.name,
            crashed=self._crashed,
            beat=lambda: progress.beat(settings.name),
            log=self._log,
        )
        self._jobs = JobRunner(
            delivery,
            slots=slots,
            let_go=self._let_go,
            crashed=self._crashed,
            metrics=metrics,
            log=self._log,
        )

    @property
    def held_records(self) -> int:
        """How many records are queued or being delivered. Thread-safe."""
        return self._held_records

    @property
    def steps(self) -> int:
        """How many times a record made progress, for the watchdog. Thread-safe."""
        return self._jobs.steps

    @property
    def is_ready(self) -> bool:
        """Whether the group has assigned partitions to this consumer, or none: standby."""
        return self._assignment is not None and (
            self._assignment.is_prepared or not self._assignment.places
        )

    @property
    def problem(self) -> str | None:
        """Why it doesn't consume, as text; None while it does. Thread-safe."""
        refusal = self._source.problem or self._preparer.problem
        if refusal is not None or self.is_ready:
            return refusal
        return "the consumer group has not assigned partitions yet"

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until stopped; then finish running jobs, commit, and leave the group.

        Raises:
            MemoryError: or any other error that must end the process.
        """
        self._crash = asyncio.get_running_loop().create_future()
        tasks: set[asyncio.Future[object]] = {
            asyncio.ensure_future(work)
            for work in (self._take_in(), self._commit_regularly(), stop.wait(), self._crash)
        }
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await self._leave()

    # --- the assignment's life ---------------------------------------------------------------

    def assigned(self, partitions: Collection[TopicPartition], *, total: int) -> None:
        """Take over; the loop reads the committed offsets, because this must not block."""
        self._assignment = Assignment(partitions)
        self._share(len(partitions) / total if total else 0.0)
        self._paused.clear()
        self._metrics.rebalanced(self._settings.name)
        self._log.info("partitions.assigned", partitions=len(partitions))

    async def revoked(self, partitions: Collection[TopicPartition]) -> None:
        """Finish running jobs, commit, and release the partitions."""
        del partitions  # always all of them
        assignment = self._assignment
        if assignment is None:
            return
        if assignment.closing is None:
            assignment.closing = asyncio.create_task(self._close(assignment))
        await asyncio.shield(assignment.closing)

    async def _close(self, assignment: Assignment) -> None:
        assignment.lease.end()
        self._preparer.stop()
        self._delivery.recall()
        self._share(0.0)
        self._hold.clear()
        try:
            async with asyncio.timeout(self._settings.drain_timeout_s):
                await assignment.idle()
        except TimeoutError:
            # Not cancelled: a relay may be accepting the mail just now. They end outside the fence.
            self._metrics.drain_timeouts.inc()
            self._log.warning("drain.timeout", seconds=self._settings.drain_timeout_s)
        with suppress(TimeoutError):
            async with asyncio.timeout(_FINAL_COMMIT_S):
                await self._committer.commit(assignment)
        assignment.fence()
        self._ledger.forget(self._settings.name)
        self._lag.forget(assignment.places)
        self._metrics.parks(self._settings.name, 0)
        if self._assignment is assignment:
            self._assignment = None

    async def _leave(self) -> None:
        await self.revoked(())
        await self._jobs.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LEAVE_S):
                await self._source.stop()

    # --- intake ------------------------------------------------------------------------------

    async def _take_in(self) -> None:
        while True:
            try:
                await self._source.start(self)
                while True:
                    await self._step()
            except SourceBroken as error:
                if self._source.problem is None:  # the source reports its own problem
                    self._log.warning("consumer.restarts", reason=str(error))
                self._progress.rest(self._settings.name)
                await self.revoked(())
                await self._source.stop()
                await asyncio.sleep(_RETRY_S)

    async def _step(self) -> None:
        await self._prepare()
        await self._wait_for_room()
        self._read_parked_again()
        self._apply_pauses()
        room = self._settings.max_held_records - self._held_records
        records = await self._source.poll(
            timeout_s=self._settings.poll_timeout_s,
            max_records=max(1, min(room, _MAX_POLL_RECORDS)),
        )
        self._progress.beat(self._settings.name)
        # A rebalance during the poll: the records belong to the new assignment.
        assignment = await self._prepare()
        if assignment is None or assignment.lease.is_over:
            return
        assignment.keep(records)
        self._receive(assignment, [*assignment.take_early(), *records])
        await self._committer.commit_first(assignment)
        for number, record in enumerate(self._hold.due(self._clock.now_ms()), 1):
            self._dispatch(assignment, record)
            if number % SLICE == 0:
                await asyncio.sleep(0)

    async def _prepare(self) -> Assignment | None:
        """Return the assignment, which has begun unless its lease has ended."""
        assignment = self._assignment
        if assignment is not None and not assignment.is_prepared:
            await self._preparer.prepare(assignment)
            self._pace.begun(each.carries for each in assignment.partitions.values())
        return assignment

    def _receive(self, assignment: Assignment, records: Iterable[ConsumedRecord]) -> None:
        now_ms = self._clock.now_ms()
        for record in records:
            time_ms = to_ms(record.timestamp_ms)
            partition = assignment.partitions.get(record.place)
            if partition is None:
                continue
            if partition.move_to(record.offset):
                if record.offset in partition.parked:
                    partition.parked.discard(record.offset)
                    partition.read_again.add(record.offset)
                    self._hold.admit(record, now_ms)
                continue
            if partition.tracker.precedes(record.offset):
                self._log.warning("log.replaced", topic=record.topic, partition=record.partition)
                partition.restart()
            is_new = partition.tracker.receive(
                record.offset,
                # A record without a time counts as read in time.
                timestamp_ms=time_ms if time_ms > 0 else now_ms,
                ledger_position=self._ledger.position(record.partition),
            )
            if is_new:
                self._hold.admit(record, now_ms)
            else:
                partition.is_dirty = True
                self._metrics.skipped("metadata")

    def _dispatch(self, assignment: Assignment, record: ConsumedRecord) -> None:
        partition = assignment.partitions.get(record.place)
        if partition is None or assignment.lease.is_over:
            return
        size = record.size
        self._held_records += 1
        self._held_bytes += size
        incoming = self._delivery.prepare(record)
        if record.offset in partition.read_again:
            partition.read_again.discard(record.offset)
            incoming = incoming._replace(was_parked=True)
        self._jobs.put(Job(incoming, assignment, partition, partition.tracker, size))

    async def _wait_for_room(self) -> None:
        """If there is none, wait a moment, unless that has been in vain already."""
        was_full = self._is_full
        self._is_full = self._held_share() > _HALF if was_full else self._held_share() >= 1
        if self._is_full and not was_full:
            self._has_room.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.pause_after_s):
                    await self._has_room.wait()
            self._is_full = self._held_share() > _HALF

    def _held_share(self) -> float:
        records = self._held_records / self._settings.max_held_records
        return max(records, self._held_bytes / self._settings.max_held_bytes)

    def _read_parked_again(self) -> None:
        assignment = self._assignment
        if assignment is None or assignment.lease.is_over:
            return
        for place, partition in assignment.partitions.items():
            offset = partition.go_back() if self._dlq.is_open(place.partition) else None
            if offset is not None:
                self._source.go_back(place, offset)

    def _apply_pauses(self) -> None:
        assignment = self._assignment
        if assignment is None:
            return
        wanted = set(assignment.places) if self._is_full else set(self._hold.holding)
        wanted |= assignment.waiting.keys()
        is_too_many = sum(len(each.parked) for each in assignment.partitions.values()) > MAX_PARKED
        for place, partition in assignment.partitions.items():
            if partition.is_reading_again:
                continue
            limit = _WINDOW_ROOM if place in self._paused else _WINDOW_FULL
            if partition.tracker.window >= limit or (is_too_many and partition.parked):
                wanted.add(place)
        self._source.pause(wanted - self._paused)
        self._source.resume(self._paused - wanted)
        self._paused = wanted

    def _let_go(self, job: Job) -> None:
        self._held_records -= 1
        self._held_bytes -= job.size
        if self._is_full and self._held_share() <= _HALF:
            self._has_room.set()

    def _crashed(self, error: BaseException) -> None:
        if self._crash is not None and not self._crash.done():
            self._crash.set_exception(error)

    # --- commits -----------------------------------------------------------------------------

    async def _commit_regularly(self) -> None:
        while True:
            await asyncio.sleep(self._settings.commit_interval_s)
            assignment = self._assignment
            if assignment is not None and assignment.is_prepared:
                await self._committer.commit(assignment)
                await self._show(assignment)

    async def _show(self, assignment: Assignment) -> None:
        self._metrics.in_flight.set(self._slots.running)
        self._metrics.holds(self._settings.name, self._held_records)
        parked = sum(len(each.parked) for each in assignment.partitions.values())
        self._metrics.parks(self._settings.name, parked)
        unread = await self._source.unread(assignment.places)
        if not assignment.is_fenced:
            self._lag.show(assignment.partitions.values(), unread)
