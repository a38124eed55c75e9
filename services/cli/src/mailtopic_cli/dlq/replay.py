"""`mailtopic dlq replay`: give dead mails another attempt, each death at most once.

A replay and the mark in N.status that records it are stored in one transaction, and only the
replay that was started last can store anything. So no dead letter is replayed twice, even if the
command is interrupted and run again.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass

from mailtopic_cli.dlq.letter import DeadLetter, read_letter, replay_mark, replayed
from mailtopic_cli.dlq.plan import Planned, ReplayPlan, Skip
from mailtopic_cli.dlq.ports import NewRecord, ReplayWriter
from mailtopic_cli.dlq.session import Session

BATCH_MAILS = 100
BATCH_S = 1.0
"""A transaction is committed at this size or age: senders can't read its mails before."""


@dataclass(slots=True)
class Replayed:
    """A replay's progress.

    Attributes:
        mails: number of mails that were put back and committed.
        is_interrupted: it was stopped before its end.
    """

    mails: int = 0
    is_interrupted: bool = False


class Replay:
    """Puts the planned letters back on the main topic.

    It doesn't promise that they are delivered: N.status records that.

    Attributes:
        plan: which letters to replay; it also counts those skipped meanwhile.

    Args:
        rate: mails a second; None: as fast as the broker takes them.
        stop: when it is set, the open transaction is committed and nothing more is put back.
    """

    def __init__(
        self,
        session: Session,
        plan: ReplayPlan,
        writer: ReplayWriter,
        *,
        rate: float | None,
        stop: asyncio.Event,
    ) -> None:
        self.plan = plan
        self._session = session
        self._writer = writer
        self._pause_s = 1 / rate if rate else 0.0
        self._stop = stop
        self._batch: list[NewRecord] = []
        self._begun_s = 0.0
        self._next_s = session.clock.monotonic_s()
        self._done = Replayed()

    @property
    def done(self) -> Replayed:
        """Its progress so far, also after an error."""
        return self._done

    async def run(self) -> Replayed:
        """Put back each mail that is still valid at that moment.

        Raises:
            DlqError: the transaction that was open is not, or not known to be, committed; those
                before it are.
        """
        for partition in range(await self._session.dlq_partitions()):
            if not self._stop.is_set():
                await self._replay_partition(partition)
        await self._commit()
        self._done.is_interrupted = self._stop.is_set()
        return self._done

    async def _replay_partition(self, partition: int) -> None:
        planned = self.plan.of_partition(partition)
        wanted = next(planned, None)
        if wanted is None:
            return
        reading = self._session.reader.read(
            self._session.names.dlq, partition, offset=wanted.offset
        )
        async with aclosing(reading) as batches:
            async for batch in batches:
                for record in batch:
                    wanted = self._skip_gone(wanted, record.offset, planned)
                    if wanted is None or self._stop.is_set():
                        return
                    if record.offset == wanted.offset:
                        await self._take(read_letter(record, self._session.legacy))
                        wanted = next(planned, None)
        while wanted is not None:
            self.plan.skipped[Skip.GONE] += 1
            wanted = next(planned, None)

    def _skip_gone(
        self, wanted: Planned | None, offset: int, planned: Iterator[Planned]
    ) -> Planned | None:
        while wanted is not None and wanted.offset < offset:
            self.plan.skipped[Skip.GONE] += 1
            wanted = next(planned, None)
        return wanted

    async def _take(self, letter: DeadLetter) -> None:
        await self._wait_for_turn()
        session, mail = self._session, letter.mail
        now_ms = session.clock.now_ms()
        if self._stop.is_set() or mail is None:
            return
        if letter.is_expired(now_ms):
            self.plan.skipped[Skip.EXPIRED] += 1
            return
        if not self._batch:
            self._begun_s = session.clock.monotonic_s()
        self._batch.append(replayed(letter, mail, session.names))
        self._batch.append(replay_mark(letter, mail, session.names, now_ms=now_ms))
        is_old = session.clock.monotonic_s() - self._begun_s >= BATCH_S
        if len(self._batch) >= 2 * BATCH_MAILS or is_old:
            await self._commit()

    async def _wait_for_turn(self) -> None:
        clock = self._session.clock
        left_s = self._next_s - clock.monotonic_s()
        if left_s > 0:
            if self._batch and self._begun_s + BATCH_S < self._next_s:
                await self._commit()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), left_s)
        self._next_s = max(self._next_s, clock.monotonic_s() - BATCH_S) + self._pause_s

    async def _commit(self) -> None:
        batch, self._batch = self._batch, []
        if batch:
            await self._writer.store(batch)
            self._done.mails += len(batch) // 2
            self._session.progress.say(f"Replaying: {self._done.mails:,} mails")
