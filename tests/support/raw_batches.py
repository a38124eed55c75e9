"""Kafka's stored forms built by hand, byte by byte, right or as wrong as a test needs them."""

import struct
import time
import zlib
from collections.abc import Sequence

from aiokafka.record.util import calc_crc32c

NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)
TRANSACTIONAL, CONTROL = 0x10, 0x20
NOW_MS = int(time.time() * 1000)  # older records would be deleted by retention
HEAD_BYTES = 61

RawHeaders = Sequence[tuple[bytes, bytes | None]]


def varint(number: int) -> bytes:
    """A number as protocol buffers write it, ZigZag."""
    left = ((number << 1) ^ (number >> 63)) & 0xFFFF_FFFF_FFFF_FFFF
    out = bytearray()
    while left > 0x7F:
        out.append(0x80 | (left & 0x7F))
        left >>= 7
    out.append(left)
    return bytes(out)


def sized(data: bytes | None) -> bytes:
    return varint(-1) if data is None else varint(len(data)) + data


def record(
    delta: int = 0,
    *,
    key: bytes | None = None,
    value: bytes | None = b"value",
    headers: RawHeaders = (),
    header_count: int | None = None,
    time_delta: int = 0,
    tail: bytes = b"",
    length: int | None = None,
) -> bytes:
    """One record of a batch, its length in front."""
    body = b"\x00" + varint(time_delta) + varint(delta) + sized(key) + sized(value)
    body += varint(len(headers) if header_count is None else header_count)
    body += b"".join(sized(name) + sized(content) for name, content in headers) + tail
    return varint(len(body) if length is None else length) + body


def batch(
    *records: bytes,
    base_offset: int = 0,
    attributes: int = 0,
    body: bytes | None = None,
    count: int | None = None,
    last_delta: int | None = None,
    first_ms: int = NOW_MS,
    max_ms: int = NOW_MS,
    magic: int = 2,
    crc: int | None = None,
    length: int | None = None,
    producer_id: int = -1,
) -> bytes:
    """A record batch; the checksum is right unless it is given."""
    number = len(records) if count is None else count
    checked = struct.pack(
        ">hiqqqhii",
        attributes,
        number - 1 if last_delta is None else last_delta,
        first_ms,
        max_ms,
        producer_id,
        -1,
        -1,
        number,
    ) + (b"".join(records) if body is None else body)
    rest = struct.pack(">ibI", -1, magic, calc_crc32c(checked) if crc is None else crc) + checked
    return struct.pack(">qi", base_offset, len(rest) if length is None else length) + rest


def message(
    offset: int = 0,
    *,
    magic: int = 1,
    key: bytes | None = None,
    value: bytes | None = b"value",
    attributes: int = 0,
    time_ms: int = NOW_MS,
    crc: int | None = None,
) -> bytes:
    """A message of before Kafka 0.11."""
    checked = struct.pack(">bb", magic, attributes)
    checked += struct.pack(">q", time_ms) if magic else b""
    for part in (key, value):
        checked += struct.pack(">i", -1) if part is None else struct.pack(">i", len(part)) + part
    rest = struct.pack(">I", zlib.crc32(checked) if crc is None else crc) + checked
    return struct.pack(">qi", offset, len(rest)) + rest
