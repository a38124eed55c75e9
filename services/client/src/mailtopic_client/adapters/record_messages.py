"""The message sets of Kafka before 0.11 (magic 0 and 1), which old topics may still hold."""

import struct
import zlib
from collections.abc import Iterator

from mailtopic_client.adapters.record_parts import (
    CODEC_MASK,
    LOG_APPEND_TIME,
    MAGIC_PLACE,
    BatchFault,
    StoredRecord,
    frames,
)
from mailtopic_client.adapters.record_streams import expand

_HEADS = (struct.Struct(">qiIbb"), struct.Struct(">qiIbbq"))
_SIZE = struct.Struct(">i")


def read_message_head(raw: memoryview) -> int:
    """Return the offset of a whole message: of a compressed set, that of its last one.

    Raises:
        BatchFault: its checksum is wrong, or its head makes no sense.
    """
    if len(raw) < _least_bytes(raw[MAGIC_PLACE]):
        raise BatchFault("the message is shorter than its head")
    offset, _, crc, _, _ = _HEADS[0].unpack_from(raw)
    if zlib.crc32(raw[MAGIC_PLACE:]) != crc:
        raise BatchFault("the checksum is wrong")
    if offset < 0:
        raise BatchFault("offsets or counts are negative")
    return int(offset)


def read_messages(raw: memoryview, *, max_bytes: int) -> Iterator[StoredRecord]:
    """Read a message, or all those of a compressed set.

    Raises:
        BatchFault: the set is broken, or expands to more than allowed.
        EOFError: a length is wrong.
        StreamFault: it can't be decompressed.
    """
    outer = _message(raw)
    attributes = raw[MAGIC_PLACE + 1]
    if not attributes & CODEC_MASK:
        yield outer
        return
    inner = _expand(attributes & CODEC_MASK, outer.value, max_bytes)
    # Offsets inside are relative to the last one since magic 1.
    shift = outer.offset - inner[-1].offset if raw[MAGIC_PLACE] else 0
    for record in inner:
        if not 0 <= record.offset + shift <= outer.offset:
            raise BatchFault("the records' offsets are out of order")
        timestamp = outer.timestamp if attributes & LOG_APPEND_TIME else record.timestamp
        yield record._replace(offset=record.offset + shift, timestamp=timestamp)


def _expand(codec: int, value: bytes | None, max_bytes: int) -> list[StoredRecord]:
    pieces: list[bytes] = []
    size = 0
    for piece in expand(codec, memoryview(value or b"")):
        size += len(piece)
        if size > max_bytes:
            raise BatchFault(f"the message set expands to more than {max_bytes} bytes")
        pieces.append(bytes(piece))
    found: list[StoredRecord] = []
    for frame in frames(memoryview(b"".join(pieces))):
        if not frame.is_whole or len(frame.raw) < _least_bytes(frame.raw[MAGIC_PLACE]):
            raise BatchFault("a compressed message set is broken")
        found.append(_message(frame.raw))
    if not found:
        raise BatchFault("a compressed message set is empty")
    return found


def _least_bytes(magic: int) -> int:
    if magic >= len(_HEADS):
        raise BatchFault("messages of different formats are mixed")
    return _HEADS[magic].size + 2 * _SIZE.size


def _message(raw: memoryview) -> StoredRecord:
    magic = raw[MAGIC_PLACE]
    head = _HEADS[magic].unpack_from(raw)
    place = _HEADS[magic].size
    parts: list[bytes | None] = []
    for _ in ("key", "value"):
        (size,) = _SIZE.unpack_from(raw, place)
        place += _SIZE.size
        if size > len(raw) - place:
            raise EOFError
        parts.append(bytes(raw[place : place + size]) if size >= 0 else None)
        place += max(size, 0)
    return StoredRecord(head[0], head[5] if magic else -1, parts[0], parts[1])
