"""Kafka's stored bytes as records, one by one, whatever the bytes are.

The layouts are those of Kafka's documentation, "Message Format": record batches (magic 2) and the
message sets of before 0.11 (magic 0 and 1). Nothing here trusts a length, a count or an offset that
it has not compared with the bytes there are, and no record is larger in memory than allowed.
"""

import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256

from aiokafka.record.util import calc_crc32c

from mailtopic_client.adapters.record_messages import read_message_head, read_messages
from mailtopic_client.adapters.record_parts import (
    CODEC_MASK,
    LOG_APPEND_TIME,
    MAGIC_PLACE,
    BatchFault,
    Fault,
    HeaderTuple,
    StoredRecord,
)
from mailtopic_client.adapters.record_streams import CHUNK_BYTES, StreamFault, expand

MAX_HEADERS = 4_096
"""A mail never has more, and each header takes many times its size in memory."""

_MAX_KEY_BYTES = 4_096
"""How many bytes of an oversized record's key are kept."""

_BATCH = struct.Struct(">qiibIhiqqqhii")
_CRC_FROM = 21
_TRANSACTIONAL, _CONTROL = 0x10, 0x20
_MAX_VARINT_BYTES = 10
_CURRENT_MAGIC = 2


@dataclass(slots=True)
class StoredBatch:
    """One batch with a parsed header and a valid checksum; its records are not decoded yet."""

    base_offset: int
    last_offset: int
    producer_id: int
    is_transactional: bool
    is_control: bool
    raw: memoryview
    magic: int


def open_batch(raw: memoryview, *, asked_for: int) -> StoredBatch:
    """Read a whole frame's head.

    Args:
        raw: the frame.
        asked_for: the batch ends at this offset or behind it.

    Raises:
        BatchFault: its checksum is wrong, or its head makes no sense.
    """
    batch = _open_batch(raw)
    if batch.last_offset < asked_for:
        raise BatchFault("the batch lies before what was asked for")
    return batch


def _open_batch(raw: memoryview) -> StoredBatch:
    magic = raw[MAGIC_PLACE]
    if magic < _CURRENT_MAGIC:
        offset = read_message_head(raw)
        return StoredBatch(offset, offset, -1, False, False, raw, magic)
    if magic > _CURRENT_MAGIC:
        raise BatchFault(f"the format with magic {magic} is unknown")
    if len(raw) < _BATCH.size:
        raise BatchFault("the batch is shorter than its head")
    base, _, _, _, crc, attributes, delta, _, _, producer, _, _, count = _BATCH.unpack_from(raw)
    if calc_crc32c(bytes(raw[_CRC_FROM:])) != crc:
        raise BatchFault("the checksum is wrong")
    if base < 0 or delta < 0 or count < 0:
        raise BatchFault("offsets or counts are negative")
    return StoredBatch(
        base_offset=base,
        last_offset=base + delta,
        producer_id=producer,
        is_transactional=bool(attributes & _TRANSACTIONAL),
        is_control=bool(attributes & _CONTROL),
        raw=raw,
        magic=magic,
    )


def records(batch: StoredBatch, *, max_record_bytes: int) -> Iterator[StoredRecord]:
    """Read a batch's records; an unreadable one has a fault and doesn't affect the others.

    Raises:
        BatchFault: while it is iterated: nothing after this can be read.
    """
    try:
        if batch.magic < _CURRENT_MAGIC:
            yield from read_messages(batch.raw, max_bytes=max_record_bytes)
        else:
            yield from _records(batch, max_record_bytes)
    except StreamFault as fault:
        raise BatchFault(str(fault)) from None
    except (struct.error, IndexError, EOFError):
        raise BatchFault("the batch ends too early") from None
    except ValueError as error:
        raise BatchFault(str(error)) from None


class _Source:
    """Bytes that arrive in pieces; only the requested ones are kept."""

    def __init__(self, codec: int, data: memoryview) -> None:
        self._pieces = expand(codec, data)
        self._kept: bytes | memoryview = b""
        self._place = 0

    def peek(self, size: int) -> bytes:
        """Return the next bytes without consuming them; fewer at the end."""
        while len(self._kept) - self._place < size:
            piece = next(self._pieces, None)
            if piece is None:
                break
            is_empty = self._place >= len(self._kept)
            rest = b"" if is_empty else bytes(self._kept[self._place :])
            self._kept, self._place = (rest + piece if rest else piece), 0
        return bytes(self._kept[self._place : self._place + size])

    def take(self, size: int) -> bytes:
        """Return the next bytes.

        Raises:
            EOFError: there aren't so many.
        """
        taken = self.peek(size)
        if len(taken) < size:
            raise EOFError
        self._place += size
        return taken

    def drain(self, size: int) -> Iterator[bytes]:
        """Consume bytes piece by piece, without keeping them."""
        while size > 0:
            piece = self.take(min(size, CHUNK_BYTES))
            size -= len(piece)
            yield piece

    def varint(self) -> int:
        """Consume a number."""
        number, used = _varint(self.peek(_MAX_VARINT_BYTES), 0)
        self._place += used
        return number


def _records(batch: StoredBatch, max_record_bytes: int) -> Iterator[StoredRecord]:
    head = _BATCH.unpack_from(batch.raw)
    attributes, first_ms, max_ms, count = head[5], head[7], head[8], head[12]
    fixed_ms = max_ms if attributes & LOG_APPEND_TIME else None
    source = _Source(attributes & CODEC_MASK, batch.raw[_BATCH.size :])
    earliest = batch.base_offset
    for _ in range(count):
        size = source.varint()
        if size < 0:
            raise BatchFault("a record's length is negative")
        if size > max_record_bytes:
            record = _too_large(source, size, batch.base_offset, first_ms)
        else:
            record = _record(source.take(size), batch.base_offset, first_ms)
        if not earliest <= record.offset <= batch.last_offset:
            raise BatchFault("the records' offsets are out of order")
        earliest = record.offset + 1
        yield record if fixed_ms is None else record._replace(timestamp=fixed_ms)
    if source.peek(1):
        raise BatchFault("more bytes than records")


def _record(data: bytes, base_offset: int, first_ms: int) -> StoredRecord:
    try:
        return _decode(data, base_offset, first_ms)
    except ValueError as error:
        text = str(error)
    except IndexError:
        text = "it ends too early"
    # Without an offset the record has no place, which costs the rest of the batch.
    offset, timestamp = -1, -1
    with suppress(ValueError, IndexError):
        delta, place = _varint(data, 1)
        offset, timestamp = base_offset + _varint(data, place)[0], first_ms + delta
    digest = sha256(data).hexdigest()
    fault = Fault("bad-record", text, offset, "record", len(data), digest)
    return StoredRecord(offset, timestamp, None, data, (), fault)


def _decode(data: bytes, base_offset: int, first_ms: int) -> StoredRecord:
    """Decode the bytes after a record's length; ValueError or IndexError for broken ones."""
    delta, place = _varint(data, 1)
    timestamp = first_ms + delta
    delta, place = _varint(data, place)
    offset = base_offset + delta
    size, place = _varint(data, place)
    key = data[place : place + size] if size >= 0 else None
    place += max(size, 0)
    size, place = _varint(data, place)
    value = data[place : place + size] if size >= 0 else None
    place += max(size, 0)
    count, place = _varint(data, place)
    headers, raw_names, place = _headers(data, place, count) if count else ((), (), place)
    # A part that was cut off ends beyond the end.
    if place != len(data):
        raise ValueError("its lengths do not add up")
    if not raw_names:
        return StoredRecord(offset, timestamp, key, value, headers)
    fault = Fault(
        "bad-header", "a header's name is not UTF-8", offset, "value", raw_names=raw_names
    )
    return StoredRecord(offset, timestamp, key, value, headers, fault)


def _headers(data: bytes, place: int, count: int) -> tuple[HeaderTuple, tuple[bytes, ...], int]:
    if not 0 <= count <= MAX_HEADERS:
        raise ValueError(f"the number of headers is not one from 0 to {MAX_HEADERS}")
    found: list[tuple[str, bytes | None]] = []
    raw_names: list[bytes] = []
    for _ in range(count):
        size, place = _varint(data, place)
        if size < 0:
            raise ValueError("a header has no name")
        raw = data[place : place + size]
        place += size
        try:
            name = raw.decode()
        except UnicodeDecodeError:
            raw_names.append(raw)
            name = raw.decode(errors="backslashreplace")
        size, place = _varint(data, place)
        found.append((name, data[place : place + size] if size >= 0 else None))
        place += max(size, 0)
    return tuple(found), tuple(raw_names), place


def _too_large(source: _Source, size: int, base_offset: int, first_ms: int) -> StoredRecord:
    """Read an oversized record's position and key; of its value only the digest."""
    head = source.peek(5 * _MAX_VARINT_BYTES + _MAX_KEY_BYTES)
    delta, place = _varint(head, 1)
    timestamp = first_ms + delta
    delta, place = _varint(head, place)
    offset = base_offset + delta
    key_size, place = _varint(head, place)
    key = head[place : place + key_size] if 0 <= key_size <= _MAX_KEY_BYTES else None
    for _ in source.drain(min(place + max(key_size, 0), size)):
        pass
    left = size - place - max(key_size, 0)
    value_size, used = _varint(source.peek(_MAX_VARINT_BYTES), 0)
    digest = sha256()
    if 0 <= value_size <= left - used:
        source.take(used)
        for piece in source.drain(value_size):
            digest.update(piece)
        left -= used + value_size
    else:
        value_size = 0
    for _ in source.drain(left):
        pass
    fault = Fault(
        "too-large", f"the record has {size} bytes", offset, "none", value_size, digest.hexdigest()
    )
    return StoredRecord(offset, timestamp, key, None, (), fault)


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """Return a number in protocol buffers' ZigZag form, of 64 bits at most, and what follows it."""
    byte = data[place]
    place += 1
    if byte < 0x80:  # noqa: PLR2004
        return (byte >> 1) ^ -(byte & 1), place
    number = byte & 0x7F
    for shift in range(7, 70, 7):
        byte = data[place]
        place += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004
            number &= 0xFFFF_FFFF_FFFF_FFFF
            return (number >> 1) ^ -(number & 1), place
    raise ValueError("a number is longer than 64 bits")
