"""Which mails already have a recorded outcome, so that a replay doesn't send them twice.

N.status is the ledger. The commit metadata holds the offset in it from which outcomes of incomplete
records can follow; on assignment only that tail is read. What one process may have started and
another may continue is read once more when it matters: see `Ledger.catch_up`.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from mailtopic_contract import Outcome, StatusEvent
from mailtopic_sender.ports import StatusLog

RECENT = 50_000
"""How many settled mails of this process are remembered: about 10 MB."""

_REPEATABLE = frozenset({Outcome.DEAD, Outcome.UNKNOWN, Outcome.BOUNCED})
_DERIVED = 5
"""The version of ids that derive from a name (RFC 9562 §5.5)."""

_CLOCK_SKEW_MS = 5_000
"""How far a producer's clock may be ahead of a sender's."""

_ALWAYS = 2**31
"""More than any attempt: the outcome is final for every attempt."""


@dataclass(slots=True)
class _Tail:
    """The part of N.status that was read.

    Attributes:
        ends: where reading ended, by partition.
        reached: by mail, the attempt up to which it is settled.
        deferred: by mail, the last event, if that is a deferral.
        derived: by mail whose id derives from its record's origin, the time of the last event,
            epoch milliseconds.
    """

    ends: dict[int, int]
    reached: dict[int, int] = field(default_factory=dict)
    deferred: dict[int, StatusEvent] = field(default_factory=dict)
    derived: dict[int, int] = field(default_factory=dict)

    def add(self, events: Iterable[tuple[int, StatusEvent]]) -> None:
        for _partition, event in events:
            key = event.id.int
            if event.id.version == _DERIVED:
                self.derived[key] = max(event.at, self.derived.get(key, 0))
            if _reached(event) >= self.reached.get(key, 0):
                self.reached[key] = _reached(event)
                self.deferred.pop(key, None)
                if event.outcome is Outcome.DEFERRED and event.tier is not None:
                    self.deferred[key] = event


class Ledger:
    """Remembers settled mails: those of this process, and those that replays may repeat.

    Outcomes that another process records after `load` may be missing. They aren't needed: a
    partition has one owner at a time, and a mail is in two topics at once only between the deferral
    that says so and the completion of the deferred record.

    Attributes:
        has_former_ids: whether `knew` can return True at all.
    """

    def __init__(self, log: StatusLog, *, recent: int = RECENT) -> None:
        self._log = log
        self._limit = recent
        self._recent: OrderedDict[int, int] = OrderedDict()
        self._restored: dict[Hashable, _Tail] = {}
        self.has_former_ids = False
        self._caught_up: dict[int, tuple[int, _Tail]] = {}
        self._catching_up = asyncio.Lock()
        self._ends: dict[int, int] = {}

    def position(self, partition: int) -> int:
        """The known end of a partition of N.status; never past the real end.

        It can be less than before: acknowledgements come in any order.
        """
        return self._ends.get(partition, 0)

    def loaded_end(self, partition: int) -> int:
        """The offset up to which every owner's `load` has read a partition; 0 if none has."""
        ends = [tail.ends[partition] for tail in self._restored.values() if partition in tail.ends]
        return min(ends, default=0)

    async def load(self, owner: Hashable, positions: Mapping[int, int | None]) -> int:
        """Read the outcomes from these offsets on; returns the number of settled mails.

        None stands for a partition in which nothing was ever handled.

        What the same owner loaded before is dropped.

        Raises:
            BrokerUnavailable: N.status can't be read now.
        """
        tail = _Tail({})
        await self._read_into(tail, positions)
        self.forget(owner)
        self._restored[owner] = tail
        self._note_former_ids()
        return len(tail.reached)

    async def load_more(self, owner: Hashable, positions: Mapping[int, int | None]) -> None:
        """Read what `load` couldn't, because N.status didn't have these partitions yet.

        Raises:
            BrokerUnavailable: N.status can't be read now.
        """
        tail = self._restored.get(owner)
        if tail is not None:
            await self._read_into(tail, positions)
            self._note_former_ids()

    def has(self, owner: Hashable, partition: int) -> bool:
        """Whether the owner's partition of N.status has been read, so that it can take outcomes."""
        tail = self._restored.get(owner)
        return tail is not None and partition in tail.ends

    async def _read_into(self, tail: _Tail, positions: Mapping[int, int | None]) -> None:
        found = await self._log.read(positions)
        tail.add(found.events)
        tail.ends.update(found.ends)
        # Lower than before if N.status was deleted and created again.
        self._ends.update(found.ends)

    async def catch_up(self, partition: int, since: int) -> None:
        """Read what others have recorded from this offset on until now.

        It is read once per assignment: whatever is handled later, this process handles.

        Raises:
            BrokerUnavailable: N.status can't be read now.
        """
        async with self._catching_up:
            start, _ = self._caught_up.get(partition, (since + 1, None))
            if start <= since:
                return
            found = await self._log.read({partition: since})
            tail = _Tail(dict(found.ends))
            tail.add(found.events)
            self._caught_up[partition] = (since, tail)

    def forget(self, owner: Hashable) -> None:
        """Drop what an owner loaded: its partitions belong to others now."""
        self._restored.pop(owner, None)
        self._caught_up.clear()
        self._note_former_ids()

    def _note_former_ids(self) -> None:
        self.has_former_ids = any(tail.derived for tail in self._restored.values())

    def note(self, event: StatusEvent, *, partition: int, offset: int) -> None:
        """Remember an outcome that N.status has stored at this place."""
        self._ends[partition] = offset + 1
        self.remember(event)

    def remember(self, event: StatusEvent) -> None:
        """Remember an outcome that needs no further action."""
        key = event.id.int
        self._recent[key] = max(self._recent.get(key, 0), _reached(event))
        self._recent.move_to_end(key)
        self._forget_oldest()

    def note_accepted(self, mail_ids: Iterable[UUID], *, partition: int, offset: int) -> None:
        """Remember mails that relays have accepted, stored in N.status up to this place."""
        self._ends[partition] = offset + 1
        for mail_id in mail_ids:
            key = mail_id.int
            self._recent[key] = _ALWAYS
            self._recent.move_to_end(key)
        self._forget_oldest()

    def _forget_oldest(self) -> None:
        while len(self._recent) > self._limit:
            self._recent.popitem(last=False)

    def knows(self, mail_id: UUID) -> bool:
        """Whether anything was recorded about a mail."""
        return self._reached(mail_id.int) > 0

    def knew(self, former_id: UUID, *, since_ms: int) -> bool:
        """Whether an earlier version recorded anything about a record under its former id.

        Former ids derive from a record's place alone, so an outcome from before the record's own
        time is about another record, in a topic that was deleted meanwhile.

        Args:
            former_id: see `RecordOrigin.former_id`.
            since_ms: the record's time, epoch milliseconds.
        """
        times = (tail.derived.get(former_id.int) for tail in self._restored.values())
        return any(at is not None and at >= since_ms - _CLOCK_SKEW_MS for at in times)

    def is_settled(self, mail_id: UUID, attempt: int) -> bool:
        """Whether a record with this attempt would repeat completed work."""
        return self._reached(mail_id.int) >= attempt

    def half_deferred(self, mail_id: UUID, attempt: int) -> StatusEvent | None:
        """Return the deferral of this attempt if it is unknown whether a retry topic has the mail.

        None if it has, or if the mail continued from there.
        """
        key = mail_id.int
        if self._recent.get(key, 0) >= attempt or self._reached(key) != attempt:
            return None
        found = (tail.deferred.get(key) for tail in self._restored.values())
        return next((event for event in found if event and event.attempt == attempt), None)

    def _reached(self, key: int) -> int:
        reached = self._recent.get(key, 0)
        for tail in self._restored.values():
            reached = max(reached, tail.reached.get(key, 0))
        for _, tail in self._caught_up.values():
            reached = max(reached, tail.reached.get(key, 0))
        return reached


def _reached(event: StatusEvent) -> int:
    # A dead mail may be replayed from the DLQ, and a bounce taken back: the next attempt counts
    # again.
    final = event.outcome.final and event.outcome not in _REPEATABLE
    return _ALWAYS if final else event.attempt
