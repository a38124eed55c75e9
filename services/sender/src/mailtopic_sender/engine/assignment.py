"""What a consumer owns between two rebalances."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import NamedTuple

from mailtopic_sender.engine.incoming import Incoming
from mailtopic_sender.engine.lease import Lease
from mailtopic_sender.engine.watermark import OffsetTracker, Snapshot
from mailtopic_sender.ports import ConsumedRecord, TopicPartition


@dataclass(slots=True)
class Partition:
    """One owned partition.

    Attributes:
        committed: the group's last commit; None if there is none.
        is_dirty: whether there may be something new to commit.
        parked: offsets that were received and must be read again to be recorded.
        position: where the next record is expected; below what was received while parked records
            are read again. None before the first record.
        read_again: offsets that have come again and aren't dispatched yet.
    """

    place: TopicPartition
    tracker: OffsetTracker
    committed: Snapshot | None = None
    is_dirty: bool = False
    parked: set[int] = field(default_factory=set)
    position: int | None = None
    read_again: set[int] = field(default_factory=set)

    @classmethod
    def resume(cls, place: TopicPartition, committed: Snapshot | None) -> "Partition":
        """Continue from the group's commit."""
        return cls(place, OffsetTracker(committed), committed)

    @property
    def carries(self) -> str:
        """What the group's commit carries of the relays' limits."""
        return self.committed.pace if self.committed is not None else ""

    @property
    def needs_first_commit(self) -> bool:
        """Whether records were received and the group has no commit yet."""
        return self.committed is None and self.tracker.watermark is not None

    def restart(self) -> None:
        """Forget all offsets: the log was replaced by a shorter one."""
        self.tracker = OffsetTracker()
        self.is_dirty = True
        self.parked.clear()
        self.read_again.clear()
        self.position = None

    @property
    def is_reading_again(self) -> bool:
        """Whether records come that were received before."""
        return self.position is not None and self.tracker.precedes(self.position)

    def park(self, offset: int, tracker: OffsetTracker) -> None:
        """Let a received record go, which must be read again; `tracker` received it."""
        if tracker is self.tracker:
            self.parked.add(offset)

    def go_back(self) -> int | None:
        """Return the offset to read from, so that parked records come again.

        None if there are none, or if they will come anyway.
        """
        if not self.parked or self.position is None or min(self.parked) >= self.position:
            return None
        self.position = min(self.parked)
        return self.position

    def move_to(self, offset: int) -> bool:
        """Note that a record is read; return whether it was received before.

        Parked records that were skipped have been deleted: they are completed.
        """
        before, self.position = self.position, offset + 1
        if before is None or offset < before:
            return False
        is_known = self.tracker.precedes(offset)
        if before < offset:
            for gone in [each for each in self.parked if before <= each < offset]:
                self.parked.discard(gone)
                self.tracker.complete(gone)
                self.is_dirty = True
        return is_known


class Assignment:
    """All partitions that one rebalance assigned to this consumer, and their jobs.

    Partitions without a place for their outcomes yet wait, without holding up the others. Once it
    is fenced, nothing is committed for it any more, whatever completes.
    """

    def __init__(self, places: Collection[TopicPartition]) -> None:
        self.places = frozenset(places)
        self.lease = Lease()
        self.partitions: dict[TopicPartition, Partition] = {}
        self.is_prepared = False
        self.is_fenced = False
        self.closing: asyncio.Task[None] | None = None
        self.waiting: dict[TopicPartition, Partition] = {}
        self._early: list[ConsumedRecord] = []
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def begin(self, partitions: Collection[Partition], waiting: Collection[Partition]) -> None:
        """Start from the group's commits; waiting partitions are let in later."""
        self.partitions = {partition.place: partition for partition in partitions}
        self.waiting = {partition.place: partition for partition in waiting}
        self.is_prepared = True

    def let_in(self, partitions: Collection[Partition]) -> None:
        """Start partitions that waited."""
        for partition in partitions:
            del self.waiting[partition.place]
            self.partitions[partition.place] = partition

    def keep(self, records: Collection[ConsumedRecord]) -> None:
        """Keep records of waiting partitions that were read before these could be paused."""
        if self.waiting:
            self._early += [record for record in records if record.place in self.waiting]

    def take_early(self) -> list[ConsumedRecord]:
        """Return the kept records of partitions that have been let in."""
        taken = [record for record in self._early if record.place in self.partitions]
        if taken:
            self._early = [record for record in self._early if record.place in self.waiting]
        return taken

    def fence(self) -> None:
        """Stop starting jobs and committing."""
        self.lease.lose()
        self.is_fenced = True

    async def idle(self) -> None:
        """Wait until no job of this assignment runs."""
        await self._idle.wait()

    def enter(self) -> None:
        """Count a job that starts; `leave` must follow."""
        if not self._running:
            self._idle.clear()
        self._running += 1

    def leave(self) -> None:
        """Count a job that has ended."""
        self._running -= 1
        if not self._running:
            self._idle.set()


class Job(NamedTuple):
    """A record in its lane; `size` is its bytes."""

    incoming: Incoming
    assignment: Assignment
    partition: Partition
    tracker: OffsetTracker
    size: int
