"""Records deliveries in batches: those made while one batch is being stored form the next."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Protocol

from mailtopic_runtime import get_logger
from mailtopic_sender.engine.incoming import Incoming
from mailtopic_sender.engine.recorder import Recorder
from mailtopic_sender.mail_ports import DeliveryResult

_GATHER_S = 0.005
"""A batch costs the producer as much as fifty records, whatever it contains."""

_ENOUGH = 100

SLICE = 16
"""Mails handled in one turn of the loop. A hundred would delay the relays' replies, and so the
connections, by ten milliseconds."""

_RETRY_S = 1.0


class Delivered(Protocol):
    """A mail that a relay has accepted."""

    incoming: Incoming
    result: DeliveryResult

    def stored(self) -> None:
        """Continue: the delivery is stored in N.status. Must not raise."""
        ...


class _Awaited:
    """A delivery that a task waits for."""

    def __init__(self, incoming: Incoming, result: DeliveryResult) -> None:
        self.incoming = incoming
        self.result = result
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def stored(self) -> None:
        if not self.done.done():
            self.done.set_result(None)


class DeliveryBatches:
    """Records deliveries, one batch at a time, so that a batch grows with the load.

    A delivery waits a few milliseconds for others, and for the batch before its own.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._pending: list[Delivered] = []
        self._writer: asyncio.Task[None] | None = None
        self._log = get_logger(__name__)

    def add(self, delivered: Delivered) -> None:
        """Record a delivery soon."""
        self._pending.append(delivered)
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())

    async def record(self, incoming: Incoming, result: DeliveryResult) -> None:
        """Record a delivery; returns when it is stored."""
        delivered = _Awaited(incoming, result)
        self.add(delivered)
        await delivered.done

    def close(self) -> None:
        """Stop writing; what isn't stored yet is dropped."""
        if self._writer is not None:
            self._writer.cancel()

    async def _write(self) -> None:
        try:
            while self._pending:
                if len(self._pending) < _ENOUGH:
                    await asyncio.sleep(_GATHER_S)
                batch, self._pending = self._pending, []
                by_partition: defaultdict[int, list[Delivered]] = defaultdict(list)
                for each in batch:
                    by_partition[each.incoming.record.partition].append(each)
                parts = by_partition.items()
                await asyncio.gather(*(self._store(number, part) for number, part in parts))
        finally:
            self._writer = None

    async def _store(self, partition: int, part: Sequence[Delivered]) -> None:
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
            for each in part[start : start + SLICE]:
                each.stored()
            await asyncio.sleep(0)
