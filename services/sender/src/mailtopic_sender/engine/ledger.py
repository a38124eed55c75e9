"""Which mails already have a recorded outcome, so that a replay does not send them twice.

N.status is the ledger. The commit metadata says from where in it the outcomes of incomplete
records can stand; on assignment only that tail is read.
"""

from collections import OrderedDict
from collections.abc import Hashable, Mapping
from uuid import UUID

from mailtopic_contract import Outcome, StatusEvent
from mailtopic_sender.ports import StatusLog

RECENT = 50_000
"""How many settled mails of this process are remembered: about 10 MB."""

_ALWAYS = 2**31
"""More than any attempt: the outcome is final, whatever attempt a record asks for."""


class Ledger:
    """Remembers settled mails: those of this process, and those that replays may bring again.

    It doesn't promise to know outcomes that another process records after `load`.
    """

    def __init__(self, log: StatusLog, *, recent: int = RECENT) -> None:
        self._log = log
        self._limit = recent
        self._recent: OrderedDict[bytes, int] = OrderedDict()
        self._restored: dict[Hashable, dict[bytes, int]] = {}
        self._ends: dict[int, int] = {}

    def position(self, partition: int) -> int:
        """The end of a partition of N.status as far as it is known; never more than it is."""
        return self._ends.get(partition, 0)

    async def load(self, owner: Hashable, positions: Mapping[int, int | None]) -> int:
        """Read the outcomes from these offsets on; returns how many mails they settle.

        None stands for a partition of which nothing was ever handled.

        What the same owner loaded before is forgotten.

        Raises:
            BrokerUnavailable: N.status can't be read now.
        """
        tail = await self._log.read(positions)
        settled: dict[bytes, int] = {}
        for _partition, event in tail.events:
            _raise_to(settled, event)
        for partition, end in tail.ends.items():
            self._ends[partition] = max(end, self.position(partition))
        self._restored[owner] = settled
        return len(settled)

    def forget(self, owner: Hashable) -> None:
        """Forget what an owner loaded: its partitions belong to others now."""
        self._restored.pop(owner, None)

    def note(self, event: StatusEvent, *, partition: int, offset: int) -> None:
        """Remember an outcome that N.status has stored at this place."""
        self._ends[partition] = max(offset + 1, self.position(partition))
        _raise_to(self._recent, event)
        self._recent.move_to_end(event.id.bytes)
        while len(self._recent) > self._limit:
            self._recent.popitem(last=False)

    def is_settled(self, mail_id: UUID, attempt: int) -> bool:
        """Whether a record that asks for this attempt would repeat what is done."""
        key = mail_id.bytes
        known = [self._recent, *self._restored.values()]
        return any(settled.get(key, 0) >= attempt for settled in known)


def _raise_to(settled: dict[bytes, int], event: StatusEvent) -> None:
    # A dead mail may be replayed from the DLQ by a person: with its next attempt it counts anew.
    final = event.outcome.final and event.outcome not in {Outcome.DEAD, Outcome.UNKNOWN}
    reached = _ALWAYS if final else event.attempt
    settled[event.id.bytes] = max(settled.get(event.id.bytes, 0), reached)
