"""What a consumer owns between two rebalances."""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from mailtopic_sender.engine.incoming import Incoming
from mailtopic_sender.engine.lease import Lease
from mailtopic_sender.engine.watermark import OffsetTracker, Snapshot
from mailtopic_sender.ports import TopicPartition


@dataclass(slots=True)
class Partition:
    """One owned partition.

    Attributes:
        committed: what the group has; None if it has nothing.
        is_dirty: whether there may be something new to commit.
    """

    place: TopicPartition
    tracker: OffsetTracker
    committed: Snapshot | None = None
    is_dirty: bool = False

    @classmethod
    def resume(cls, place: TopicPartition, committed: Snapshot | None) -> "Partition":
        """Go on where the group stands."""
        return cls(place, OffsetTracker(committed), committed)

    @property
    def needs_first_commit(self) -> bool:
        """Whether records were received of which the group knows nothing at all."""
        return self.committed is None and self.tracker.watermark is not None

    def restart(self) -> None:
        """Forget all offsets: the log was replaced by a shorter one."""
        self.tracker = OffsetTracker()
        self.is_dirty = True


class Assignment:
    """All partitions that one rebalance gave this consumer, and the jobs that run for them.

    Once it is fenced, nothing is committed for it any more, whoever completes what.
    """

    def __init__(self, places: Collection[TopicPartition]) -> None:
        self.places = frozenset(places)
        self.lease = Lease()
        self.partitions: Mapping[TopicPartition, Partition] = {}
        self.is_prepared = False
        self.is_fenced = False
        self.closing: asyncio.Task[None] | None = None
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def begin(self, partitions: Collection[Partition]) -> None:
        """Start with what the group has committed."""
        self.partitions = {partition.place: partition for partition in partitions}
        self.is_prepared = True

    def fence(self) -> None:
        """Let nothing begin and nothing be committed any more."""
        self.lease.lose()
        self.is_fenced = True

    async def idle(self) -> None:
        """Return when no job of this assignment runs."""
        await self._idle.wait()

    def enter(self) -> None:
        """A job begins to run; `leave` must follow."""
        self._running += 1
        self._idle.clear()

    def leave(self) -> None:
        """A job has ended."""
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
