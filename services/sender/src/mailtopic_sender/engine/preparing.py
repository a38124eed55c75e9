"""From an assignment to its first record: finding out where to continue."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress

from mailtopic_client import BrokerUnavailable
from mailtopic_runtime import Logger, StateLog
from mailtopic_sender.engine.assignment import Assignment, Partition
from mailtopic_sender.engine.lease import Abandoned
from mailtopic_sender.engine.ledger import Ledger
from mailtopic_sender.engine.watermark import MetadataError, Snapshot, decode_snapshot
from mailtopic_sender.ports import Committed, ReadingRefused, RecordSource, TopicPartition

_RETRY_S = 1.0


class Preparer:
    """Reads each partition's committed progress, and which of the other records have an outcome.

    Args:
        source: reads the committed offsets.
        ledger: reads outcomes.
        consumer: the consumer's name; the owner in the ledger.
        crashed: called with an error that must end the process.
        beat: reports to the watchdog that the loop is alive while it has to wait.
        log: gets a line when partitions start to wait, and one when they stop.
    """

    def __init__(
        self,
        source: RecordSource,
        ledger: Ledger,
        *,
        consumer: str,
        crashed: Callable[[BaseException], None],
        beat: Callable[[], None],
        log: Logger,
    ) -> None:
        self._source = source
        self._ledger = ledger
        self._consumer = consumer
        self._crashed = crashed
        self._beat = beat
        self._log = log
        self._state = StateLog(log, "assignment")
        self._letting_in: asyncio.Task[None] | None = None

    @property
    def problem(self) -> str | None:
        """Why an assignment can't begin, in words; None where nothing is refused."""
        return self._state.reason

    async def prepare(self, assignment: Assignment) -> None:
        """Begin an assignment; also returns when its lease ends before that.

        Partitions without a place for outcomes, because the topic's satellites have fewer
        partitions, are let in as soon as they have one. The others don't wait for them.
        """
        while not assignment.lease.is_over:
            try:
                committed = await self._source.committed(assignment.places)
                resumed = [
                    Partition.resume(place, self._decode(place, committed.get(place)))
                    for place in assignment.places
                ]
                await self._ledger.load(self._consumer, _ledger_positions(resumed))
            except ReadingRefused as error:
                self._state.down(str(error))
            except BrokerUnavailable:
                pass  # whether brokers answer is reported elsewhere
            else:
                self._state.up()
                if not assignment.lease.is_over:
                    self._begin(assignment, resumed)
                return
            self._beat()
            with suppress(Abandoned):
                await assignment.lease.wait(None, timeout_s=_RETRY_S)

    def stop(self) -> None:
        """Stop letting partitions in."""
        if self._letting_in is not None:
            self._letting_in.cancel()

    def _begin(self, assignment: Assignment, resumed: Iterable[Partition]) -> None:
        ready, waiting = self._by_place_for_outcomes(resumed)
        assignment.begin(ready, waiting)
        self.stop()
        if waiting:
            self._log.warning(
                "partitions.waiting",
                partitions=",".join(f"{e.place.topic}/{e.place.partition}" for e in waiting),
                reason="the topic has more partitions than its satellites: their mails wait",
            )
            self._letting_in = asyncio.create_task(self._let_in(assignment))
            self._letting_in.add_done_callback(self._ended)

    async def _let_in(self, assignment: Assignment) -> None:
        with suppress(Abandoned):
            while assignment.waiting:
                await assignment.lease.wait(None, timeout_s=_RETRY_S)
                waiting = list(assignment.waiting.values())
                with suppress(BrokerUnavailable):
                    await self._ledger.load_more(self._consumer, _ledger_positions(waiting))
                    if not assignment.lease.is_over:
                        ready, _ = self._by_place_for_outcomes(waiting)
                        assignment.let_in(ready)
            self._log.info("partitions.begun")

    def _ended(self, letting_in: asyncio.Task[None]) -> None:
        error = None if letting_in.cancelled() else letting_in.exception()
        if error is not None:
            self._crashed(error)

    def _by_place_for_outcomes(
        self, partitions: Iterable[Partition]
    ) -> tuple[list[Partition], list[Partition]]:
        found: tuple[list[Partition], list[Partition]] = ([], [])
        for each in partitions:
            is_missing = not self._ledger.has(self._consumer, each.place.partition)
            found[is_missing].append(each)
        return found

    def _decode(self, place: TopicPartition, committed: Committed | None) -> Snapshot | None:
        if committed is None:
            return None
        try:
            return decode_snapshot(committed)
        except MetadataError as error:
            self._log.warning(
                "metadata.ignored", topic=place.topic, partition=place.partition, reason=str(error)
            )
            return Snapshot(committed.offset, frozenset(), 0)


def _ledger_positions(partitions: Iterable[Partition]) -> dict[int, int | None]:
    positions: dict[int, int | None] = {}
    for partition in partitions:
        number = partition.place.partition
        start = partition.committed.ledger_position if partition.committed else None
        others = positions.get(number)
        known = [position for position in (start, others) if position is not None]
        positions[number] = min(known) if known else None
    return positions
