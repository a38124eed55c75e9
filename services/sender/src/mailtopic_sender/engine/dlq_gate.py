"""Keeps poison from holding up mails while the DLQ takes nothing: it waits in its partition."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from mailtopic_runtime import StateLog, get_logger
from mailtopic_sender.engine.lanes import Slots
from mailtopic_sender.ports import ConsumedRecord

AT_ONCE = 4
"""How many letters of one partition may be on their way, and wait in memory while it is shut."""

_SHUT_AFTER_S = 3.0
"""An answer that takes longer is a topic without a leader or without enough replicas."""


class Parked(Exception):  # noqa: N818 - it says what happened
    """The DLQ takes nothing now. Nothing was recorded: the record must be read again later."""


@dataclass(slots=True)
class _Partition:
    """One partition of the DLQ.

    Attributes:
        shut: set while a letter waits that the broker has refused or not acknowledged.
        waiting: the letters that were on their way when it was shut, by their record.
    """

    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    shut: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: dict[ConsumedRecord, asyncio.Task[None]] = field(default_factory=dict)

    @property
    def is_shut(self) -> bool:
        """Whether no other letter may be tried."""
        return self.shut.is_set() or len(self.unfinished()) >= AT_ONCE

    def unfinished(self) -> dict[ConsumedRecord, asyncio.Task[None]]:
        """The letters that are still tried."""
        return {record: task for record, task in self.waiting.items() if not task.done()}


class DlqGate:
    """One for all consumers of a process; each partition of the DLQ opens and shuts for itself.

    A letter that is refused, or not acknowledged within seconds, shuts its partition. That letter
    is tried until it is stored, which opens the partition again; other records are parked without
    an attempt. A letter doesn't need a slot, so mails are delivered meanwhile.

    Args:
        topic: the DLQ.
        slots: each letter lends its job's slot.
        broker_answers: while a broker is known to be away, that isn't reported here as well.
        shut_after_s: how long an acknowledgement may take.
    """

    def __init__(
        self,
        topic: str,
        *,
        slots: Slots,
        broker_answers: Callable[[], bool] = lambda: True,
        shut_after_s: float = _SHUT_AFTER_S,
    ) -> None:
        self._topic = topic
        self._slots = slots
        self._broker_answers = broker_answers
        self._shut_after_s = shut_after_s
        self._partitions: dict[int, _Partition] = {}
        self._in_hand = 0
        self._state = StateLog(get_logger(__name__).bind(topic=topic), "dlq")

    @property
    def problem(self) -> str | None:
        """Why the DLQ takes no records, as text; None while it does. Thread-safe."""
        return self._state.reason

    @property
    def waiting(self) -> int:
        """How many records wait in hand because they can't be parked. Thread-safe."""
        return self._in_hand if self._state.reason is not None else 0

    def is_open(self, partition: int) -> bool:
        """Whether parked records of this partition are worth another attempt."""
        found = self._partitions.get(partition)
        return found is None or not found.is_shut

    async def store(
        self, record: ConsumedRecord, letter: Callable[[], Awaitable[None]], *, may_park: bool
    ) -> None:
        """Return when `letter`, which writes the record's letter to the DLQ, has returned.

        Args:
            record: what is buried.
            letter: must call `refused` for each failed attempt and `took` after its last one.
            may_park: whether the record is judged in the same way when it is read again. Else it
                waits in hand, and so do the records of its lane.

        Raises:
            Parked: the DLQ takes nothing now.
        """
        with self._slots.lent():
            if may_park:
                await self._store_or_park(record._replace(fault=None), letter)
                return
            self._in_hand += 1
            try:
                await letter()
            finally:
                self._in_hand -= 1

    def refused(self, partition: int, reason: str) -> None:
        """Shut a partition: a letter wasn't stored."""
        found = self._partition(partition)
        if not found.shut.is_set():
            # What was stored and didn't come again has another owner.
            found.waiting = found.unfinished()
            found.shut.set()
        if self._broker_answers():
            self._state.down(
                f"the topic {self._topic} takes no records ({reason}): "
                "what belongs there waits in its partition"
            )

    def took(self, partition: int) -> None:
        """Open a partition: a letter was stored."""
        self._partition(partition).shut.clear()
        is_down = self._state.reason is not None
        if is_down and not any(each.shut.is_set() for each in self._partitions.values()):
            self._state.up()

    def close(self) -> None:
        """Give up letters that wait: their records are read again by the next owner."""
        for partition in self._partitions.values():
            for task in partition.waiting.values():
                task.cancel()

    def _partition(self, number: int) -> _Partition:
        return self._partitions.setdefault(number, _Partition())

    async def _store_or_park(
        self, record: ConsumedRecord, letter: Callable[[], Awaitable[None]]
    ) -> None:
        partition = self._partition(record.partition)
        async with partition.turns:
            # It may have been stored after its record was parked.
            task = partition.waiting.get(record)
            if partition.is_shut and (task is None or not task.done()):
                raise Parked
            if task is None:
                task = asyncio.ensure_future(letter())
            await self._acknowledged(task, record, partition)
            partition.waiting.pop(record, None)
        task.result()

    async def _acknowledged(
        self, task: asyncio.Task[None], record: ConsumedRecord, partition: _Partition
    ) -> None:
        """Wait until a letter is stored or has failed; park its record if neither comes."""
        is_shut = asyncio.ensure_future(partition.shut.wait())
        try:
            await asyncio.wait(
                {task, is_shut},
                timeout=self._shut_after_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
        except asyncio.CancelledError:
            task.cancel()
            raise
        finally:
            is_shut.cancel()
        if task.done():
            return
        if not partition.shut.is_set():
            self.refused(record.partition, "no acknowledgement")
        if record not in partition.waiting:
            partition.waiting[record] = task
            task.add_done_callback(lambda ended: self._ended(record.partition, ended))
        raise Parked

    def _ended(self, number: int, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self.took(number)  # a bug in one letter must not keep the others out
