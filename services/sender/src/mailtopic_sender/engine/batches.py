"""Deliveries are recorded together: what is taken while a batch is being stored is the next one."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from mailtopic_runtime import get_logger
from mailtopic_sender.engine.incoming import Incoming
from mailtopic_sender.engine.recorder import Recorder
from mailtopic_sender.mail_ports import DeliveryResult

_GATHER_S = 0.005
"""A batch costs the producer as much as fifty records, whatever is in it."""

_ENOUGH = 100

SLICE = 16
"""So many mails are gone through in one turn of the loop. A hundred of them would hold up the
relays' replies, and so the connections, by ten milliseconds."""

_RETRY_S = 1.0


class Delivered(Protocol):
    """A mail that a relay has taken."""

    incoming: Incoming
    result: DeliveryResult


Mail = TypeVar("Mail", bound=Delivered)


class DeliveryBatches(Generic[Mail]):
    """Records deliveries, one batch at a time, so that a batch grows with the load.

    A delivery waits a few milliseconds for others, and for the batch before its own.
    """

    def __init__(self, recorder: Recorder, stored: Callable[[Sequence[Mail]], None]) -> None:
        """Start empty; `stored` is told which deliveries N.status has, and must not raise."""
        self._recorder = recorder
        self._stored = stored
        self._pending: list[Mail] = []
        self._writer: asyncio.Task[None] | None = None
        self._log = get_logger(__name__)

    def add(self, delivered: Mail) -> None:
        """Record a delivery soon."""
        self._pending.append(delivered)
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())

    def close(self) -> None:
        """Stop writing: who still waits is told nothing any more."""
        if self._writer is not None:
            self._writer.cancel()

    async def _write(self) -> None:
        try:
            while self._pending:
                if len(self._pending) < _ENOUGH:
                    await asyncio.sleep(_GATHER_S)
                batch, self._pending = self._pending, []
                by_partition: defaultdict[int, list[Mail]] = defaultdict(list)
                for each in batch:
                    by_partition[each.incoming.record.partition].append(each)
                parts = by_partition.items()
                await asyncio.gather(*(self._store(number, part) for number, part in parts))
        finally:
            self._writer = None

    async def _store(self, partition: int, part: Sequence[Mail]) -> None:
        while True:
            try:
                await self._recorder.settle_delivered(
                    partition, [(each.incoming, each.result) for each in part]
                )
            except Exception as error:  # noqa: BLE001 - the relay has them: they must be recorded
                self._log.error("outcomes.stuck", mails=len(part), exc_info=error)
                await asyncio.sleep(_RETRY_S)
            else:
                break
        for start in range(0, len(part), SLICE):
            self._stored(part[start : start + SLICE])
            await asyncio.sleep(0)
