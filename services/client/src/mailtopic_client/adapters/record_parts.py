"""The parts of stored bytes: frames, records, and why one couldn't be read."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

LOG_OVERHEAD = 12
"""Offset and length: every format begins with them, and the length excludes them."""

MAGIC_PLACE = 16
CODEC_MASK = 0x07
LOG_APPEND_TIME = 0x08

_LENGTH = struct.Struct(">i")
_LENGTH_PLACE = 8
_LEAST_BYTES = LOG_OVERHEAD + 14
_LAST_DELTA = slice(23, 27)

HeaderTuple = tuple[tuple[str, bytes | None], ...]


class BatchFault(Exception):  # noqa: N818 - it says what happened
    """What is left of a batch can't be read; the text is one line without contents."""


class Fault(NamedTuple):
    """Why a record, or the rest of a batch, couldn't be read.

    Attributes:
        reason: ``bad-batch``, ``bad-record``, ``bad-header`` or ``too-large``.
        text: one line without contents.
        first_offset: the first offset that it stands for; the last one is the record's own.
        form: what there is as value: ``batch`` or ``record`` as stored, the ``value`` of the record
            itself, or ``none`` of them, because it is too large.
        stored_bytes: size of what the digest is of.
        digest: SHA-256 in hex of the bytes as stored; for a record without its value, of that.
        raw_names: the header names that are not UTF-8, in order; the headers hold them escaped.
    """

    reason: str
    text: str
    first_offset: int
    form: str
    stored_bytes: int | None = None
    digest: str | None = None
    raw_names: tuple[bytes, ...] = ()


class StoredRecord(NamedTuple):
    """A record as it lies in a batch; with a fault, what there is of it."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: HeaderTuple = ()
    fault: Fault | None = None


class Frame(NamedTuple):
    """One batch, going by its length alone."""

    raw: memoryview
    is_whole: bool

    @property
    def base_offset(self) -> int:
        """The offset at its beginning, which no checksum covers; -1 if there is none."""
        if len(self.raw) < _LENGTH_PLACE:
            return -1
        return int.from_bytes(self.raw[:_LENGTH_PLACE], "big", signed=True)

    @property
    def claimed_end(self) -> int:
        """The offset after it as a batch of today says, not to be trusted; -1 if it says none."""
        delta = self.raw[_LAST_DELTA]
        return self.base_offset + int.from_bytes(delta, "big", signed=True) + 1 if delta else -1


def frames(data: memoryview) -> Iterator[Frame]:
    """Cut what a broker returned for a partition into batches.

    The last one is not whole where the broker cut it off, or where a length is wrong: what follows
    it can't be found then.
    """
    place = 0
    while place < len(data):
        rest = data[place:]
        length = _LENGTH.unpack_from(rest, _LENGTH_PLACE)[0] if len(rest) >= LOG_OVERHEAD else -1
        end = LOG_OVERHEAD + length
        if not _LEAST_BYTES <= end <= len(rest):
            yield Frame(rest, is_whole=False)
            return
        yield Frame(rest[:end], is_whole=True)
        place += end
