"""Which offsets of a partition are completed, and what may therefore be committed. Pure.

Only received offsets count: transaction markers and compaction leave gaps that are never received,
so "the last one plus one" would wait for them for ever.
"""

import base64
import binascii
from collections import deque
from typing import NamedTuple

from mailtopic_sender.ports import Committed

WINDOW = 16_384
"""Offsets above the watermark that the metadata covers: 2,732 base64 characters at most."""

MAX_METADATA_BYTES = 4_096
"""The broker's default limit (offset.metadata.max.bytes)."""

_VERSION = "v1"
_PARTS = (3, 4)


class MetadataError(ValueError):
    """Commit metadata that this version can't read."""


class Snapshot(NamedTuple):
    """A partition's progress as committed.

    Attributes:
        offset: the watermark: everything below it is completed.
        completed: completed offsets above it.
        ledger_position: the offset in N.status from which outcomes of incomplete records follow.
        pace: the relays' limits that the partition carries; see `domain.pace.carried`.
    """

    offset: int
    completed: frozenset[int]
    ledger_position: int
    pace: str = ""


class _Received(NamedTuple):
    offset: int
    timestamp_ms: int
    ledger_position: int


def encode_snapshot(snapshot: Snapshot) -> Committed:
    """Return the data to commit; completed offsets beyond the window are left out."""
    above = (offset - snapshot.offset for offset in snapshot.completed)
    distances = [distance for distance in above if 0 <= distance < WINDOW]
    bits = bytearray(max(distances) // 8 + 1 if distances else 0)
    for distance in distances:
        bits[distance // 8] |= 1 << distance % 8
    bitset = base64.b64encode(bits).decode()
    metadata = f"{_VERSION}|{bitset}|{snapshot.ledger_position}"
    return Committed(snapshot.offset, f"{metadata}|{snapshot.pace}" if snapshot.pace else metadata)


def decode_snapshot(committed: Committed) -> Snapshot:
    """Return the progress that was committed. Empty metadata is another program's commit.

    Raises:
        MetadataError: the metadata can't be read; the offset alone is still valid.
    """
    if not committed.metadata:
        return Snapshot(committed.offset, frozenset(), 0)
    parts = committed.metadata.split("|")
    is_ours = parts[0] == _VERSION and len(parts) in _PARTS
    if not is_ours or len(committed.metadata) > MAX_METADATA_BYTES:
        raise MetadataError("the commit metadata is not of version 1")
    if not parts[2].isascii() or not parts[2].isdigit():
        raise MetadataError("the ledger position in the commit metadata is not a number")
    try:
        bits = base64.b64decode(parts[1], validate=True)
    except (binascii.Error, ValueError):
        raise MetadataError("the bitset in the commit metadata is not base64") from None
    completed = frozenset(
        committed.offset + distance
        for distance in range(len(bits) * 8)
        if bits[distance // 8] >> distance % 8 & 1
    )
    return Snapshot(committed.offset, completed, int(parts[2]), "".join(parts[3:]))


class OffsetTracker:
    """One partition during one assignment.

    Invariants: the watermark never passes a received offset that isn't completed, and never goes
    back.

    Args:
        start: what was committed before, or None for a group without a commit.
    """

    def __init__(self, start: Snapshot | None = None) -> None:
        self._received: deque[_Received] = deque()
        self._done: set[int] = set()
        self._restored = start.completed if start else frozenset()
        self._next: int | None = start.offset if start else None
        self._watermark = self._next
        self._newest_timestamp_ms: int | None = None

    @property
    def watermark(self) -> int | None:
        """The offset to commit; None if nothing was ever received or committed."""
        return self._watermark

    @property
    def incomplete(self) -> int:
        """How many received records aren't completed."""
        return len(self._received) - len(self._done)

    @property
    def window(self) -> int:
        """The distance from the watermark to the highest received offset."""
        if self._watermark is None or self._next is None:
            return 0
        return self._next - self._watermark

    @property
    def oldest_timestamp_ms(self) -> int | None:
        """The record time of the oldest incomplete record; None if there is none."""
        return self._received[0].timestamp_ms if self._received else None

    @property
    def newest_timestamp_ms(self) -> int | None:
        """The record time of the last record that was received; None if none was."""
        return self._newest_timestamp_ms

    def precedes(self, offset: int) -> bool:
        """Whether an offset is below what was received: the partition's log was replaced."""
        return self._next is not None and offset < self._next

    def receive(self, offset: int, *, timestamp_ms: int = 0, ledger_position: int = 0) -> bool:
        """Register a record; returns False if it was completed before the last restart.

        Raises:
            ValueError: the offset is not above the last one.
        """
        if self.precedes(offset):
            raise ValueError("offsets must grow")
        self._next = offset + 1
        if not self._received and not self._done:
            self._watermark = offset
        self._newest_timestamp_ms = timestamp_ms
        self._received.append(_Received(offset, timestamp_ms, ledger_position))
        if offset in self._restored:
            self.complete(offset)
            return False
        return True

    def complete(self, offset: int) -> None:
        """Mark a received record's outcome as recorded; a second time changes nothing."""
        if not self._received or offset < self._received[0].offset:
            return
        self._done.add(offset)
        while self._received and self._received[0].offset in self._done:
            self._done.discard(self._received.popleft().offset)
        self._watermark = self._received[0].offset if self._received else self._next

    def snapshot(self, ledger_position: int, pace: str = "") -> Snapshot | None:
        """Return what may be committed; None while there is nothing.

        Args:
            ledger_position: the currently known end of N.status; it counts while no record is
                incomplete.
            pace: the relays' limits for the partition to carry.
        """
        if self._watermark is None:
            return None
        if self._received:
            ledger_position = self._received[0].ledger_position
        above = {offset for offset in self._restored if offset >= (self._next or 0)}
        return Snapshot(self._watermark, frozenset(self._done | above), ledger_position, pace)
