"""Hostile records: batches that a broker accepts, and damaged ones.

`HOSTILE` is what is sent in a raw Produce request. `DAMAGED` is sent sound and changed on the
broker's disk afterwards, as a bad disk would: a broker hands stored batches out as they are.
"""

import asyncio
import functools
import gzip
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import lz4.frame
from aiokafka.codec import snappy_encode
from aiokafka.record.util import calc_crc32c
from backports import zstd

from support.raw_batches import (
    CONTROL,
    GZIP,
    HEAD_BYTES,
    LZ4,
    NOW_MS,
    SNAPPY,
    TRANSACTIONAL,
    ZSTD,
    batch,
    record,
    sized,
    varint,
)
from support.raw_producer import produce_raw

_BOMB_BYTES = 400_000_000
_LEGACY_MAIL = b'{"email":"stranger@example.test","code":"123456"}'


def _one(key: bytes | None = b"k", value: bytes | None = b"garbage", **fields: object) -> bytes:
    return batch(record(key=key, value=value, **fields))  # type: ignore[arg-type] # of record


def _packed(codec: int, packed: bytes, count: int = 1) -> bytes:
    return batch(body=packed, count=count, attributes=codec)


def _zeros() -> bytes:
    """A whole record of zeros, 400 MB, in 13 kB."""
    value = varint(_BOMB_BYTES)
    head = b"\x00" + varint(0) + varint(0) + sized(b"bomb") + value
    size = len(head) + _BOMB_BYTES + 1
    packer = zstd.ZstdCompressor()
    parts = [packer.compress(varint(size) + head)]
    parts += [packer.compress(bytes(1_000_000)) for _ in range(_BOMB_BYTES // 1_000_000)]
    parts += [packer.compress(varint(0)), packer.flush()]
    return b"".join(parts)


def _with_attributes(data: bytes) -> bytes:
    return data[:1] + b"\xff" + data[2:]


def _many(count: int, value: bytes) -> bytes:
    return b"".join(record(delta, key=b"k", value=value) for delta in range(count))


def _odd_batches() -> Mapping[str, bytes]:
    """Fields of a batch, and frames of its compression, that contradict what is in it."""
    one, same = record(key=b"k"), record(0, key=b"k")
    lz4_sized = lz4.frame.compress(one, block_linked=False, store_size=True)
    known_size = zstd.compress(one)
    return {
        "key of 900 kB": _one(key=b"k" * 900_000),
        "key of 900 kB, null value": _one(key=b"k" * 900_000, value=None),
        "the same header 4,000 times": _one(headers=[(b"mt-id", b"\xff")] * 4_000),
        "offsets jump by a billion": batch(record(0), record(10**9), last_delta=10**9),
        "fewer offsets than records": batch(*[one] * 3, last_delta=0),
        "more offsets than records": batch(one, last_delta=1_000),
        "one offset for three records": batch(same, same, same),
        "offsets that go down": batch(record(2), record(1), record(0)),
        "unknown attribute bits": batch(one, attributes=0x7F80),
        "log append time": batch(one, attributes=0x08),
        "a delete horizon": batch(one, attributes=0x40),
        "max time before the first": batch(one, first_ms=NOW_MS, max_ms=0),
        "time delta out of range": batch(record(key=b"k", time_delta=2**62)),
        "producer id without an epoch": batch(one, producer_id=7),
        "abort marker of version 7": _marker(b"\x00\x07\x00\x00", b"\x00\x07\x00\x00\x00\x00"),
        "marker of type 9": _marker(b"\x00\x00\x00\x09", b""),
        "marker with a short key": _marker(b"\x00", None),
        "lz4 that states its size": _packed(LZ4, lz4_sized),
        "lz4, a wrong size stated": _packed(LZ4, lz4_sized[:6] + b"\xff" * 8 + lz4_sized[14:]),
        "lz4 cut in the middle": _packed(LZ4, lz4_sized[:-9]),
        "zstd, a wrong size stated": _packed(ZSTD, known_size[:5] + b"\xff" + known_size[6:]),
        "zstd in two frames": _packed(ZSTD, zstd.compress(one) + zstd.compress(record(1)), 2),
        "zstd, a frame to skip": _packed(
            ZSTD, b"\x50\x2a\x4d\x18\x04\x00\x00\x00skip" + known_size
        ),
        "zstd with a dictionary": _packed(ZSTD, b"\x28\xb5\x2f\xfd\x23\x07\x00\x00\x00\x10"),
        "snappy, a size of 4 GB": _packed(SNAPPY, b"\xff\xff\xff\xff\x0f" + b"\x00" * 20),
        "snappy, xerial of version 9": _packed(
            SNAPPY, b"\x82SNAPPY\x00" + struct.pack(">ii", 9, 9) + bytes(snappy_encode(one))[16:]
        ),
        "snappy, a block of 2 GB": _packed(
            SNAPPY, b"\x82SNAPPY\x00" + struct.pack(">iii", 1, 1, 2**31 - 1) + bytes(20)
        ),
        "gzip cut in the middle": _packed(GZIP, gzip.compress(one)[:-12]),
        "gzip with a wrong length": _packed(GZIP, gzip.compress(one)[:-4] + b"\xff" * 4),
    }


def _marker(key: bytes, value: bytes | None) -> bytes:
    return batch(record(key=key, value=value), attributes=CONTROL | TRANSACTIONAL, producer_id=7)


@functools.cache
def hostile() -> Mapping[str, bytes]:
    """Batches of one offset or several, by what is odd about them."""
    odd_name = b"gr\xf6\xdfe"
    plain = record(key=b"k", value=bytes(5_000_000))
    five_mb = (b"A line of honest text, again and again. " * 130_000)[:5_000_000]
    return {
        "header name in latin-1": _one(headers=[(odd_name, b"1")]),
        "a mail with a header name in latin-1": _one(
            value=_LEGACY_MAIL, headers=[(odd_name, b"1")]
        ),
        "header name of a lone surrogate": _one(headers=[(b"\xed\xa0\x80", b"1")]),
        "header name of 256 byte values": _one(headers=[(bytes(range(256)), b"1")]),
        "two odd names and a null": _one(headers=[(b"\xff", None), (b"a", None), (b"\xfe", b"")]),
        "our header with an odd byte": _one(headers=[(b"mt-id\xff", b"1")]),
        "empty header name": _one(headers=[(b"", b"1")]),
        "header name of 100 kB": _one(headers=[(b"n" * 100_000, b"1")]),
        "header value of 100 kB": _one(headers=[(b"n", b"v" * 100_000)]),
        "null header value": _one(headers=[(b"n", None)]),
        "4,000 headers": _one(headers=[(b"n", b"1")] * 4_000),
        "5,000 headers": _one(headers=[(b"n", b"1")] * 5_000),
        "500,000 headers": _one(headers=[(b"", b"")] * 500_000),
        "mt-id that is none": _one(headers=[(b"mt-id", b"\xff\x00")]),
        "mt-attempt that is none": _one(headers=[(b"mt-attempt", b"-1")]),
        "mt-attempt null": _one(headers=[(b"mt-attempt", None)]),
        "mt-not-before in a million years": _one(headers=[(b"mt-not-before", b"9" * 18)]),
        "mt-not-before in 9999": _one(headers=[(b"mt-not-before", b"253402300799999")]),
        "mt-outcomes-from absurd": _one(headers=[(b"mt-outcomes-from", b"9" * 19)]),
        "mt-origin incomplete": _one(headers=[(b"mt-origin-offset", b"1")]),
        "mt-error of ours": _one(headers=[(b"mt-error-class", b"poison")]),
        "mt-unread of ours": _one(headers=[(b"mt-unread-form", b"batch")]),
        "traceparent of rubbish": _one(headers=[(b"traceparent", b"\xff" * 100)]),
        "null key and value": _one(key=None, value=None),
        "null value": _one(value=None),
        "null key": _one(key=None),
        "empty key and value": _one(key=b"", value=b""),
        "key of 300 kB": _one(key=b"k" * 300_000),
        "value of zeros": _one(value=bytes(100)),
        "value of 2 MB": _one(value=b"x" * 2_000_000),
        "value that is UTF-16": _one(value=_LEGACY_MAIL.decode().encode("utf-16")),
        "JSON, deep": _one(value=b"[" * 100_000),
        "JSON, an endless number": _one(value=b'{"v":' + b"9" * 100_000 + b"}"),
        "JSON, NaN": _one(value=b'{"v":NaN}'),
        "JSON, surrogates": _one(value=b'{"email":"\\ud800@a.b","code":"123456"}'),
        "JSON, NUL": _one(value=b'{"email":"a\\u0000@b.test","code":"123456"}'),
        "record attributes set": batch(_with_attributes(record(key=b"k", value=b"odd"))),
        "time -1": batch(record(key=b"k"), first_ms=-1, max_ms=-1),
        "time 0": batch(record(key=b"k"), first_ms=0, max_ms=0),
        "time in seconds": batch(record(key=b"k"), first_ms=NOW_MS // 1000, max_ms=NOW_MS // 1000),
        "time before the beginning": batch(record(key=b"k"), first_ms=-(2**63), max_ms=-(2**63)),
        "time far away": batch(record(key=b"k"), first_ms=2**62, max_ms=2**62),
        "gzip": _packed(GZIP, gzip.compress(record(key=b"k"))),
        "gzip in two members": _packed(
            GZIP, gzip.compress(record(0, key=b"k")) + gzip.compress(record(1, key=b"k")), count=2
        ),
        "snappy": _packed(SNAPPY, snappy_encode(record(key=b"k"))),
        "snappy without a frame": _packed(
            SNAPPY, snappy_encode(record(key=b"k"), xerial_compatible=False)
        ),
        "lz4": _packed(LZ4, lz4.frame.compress(record(key=b"k"), block_linked=False)),
        "zstd": _packed(ZSTD, zstd.compress(record(key=b"k"))),
        "zstd, 5 MB of honest text": _packed(ZSTD, zstd.compress(record(key=b"k", value=five_mb))),
        "zstd, 5 MB beside small ones": _packed(
            ZSTD,
            zstd.compress(
                record(0, key=b"k") + record(1, key=b"k", value=five_mb) + record(2, key=b"k")
            ),
            count=3,
        ),
        "zstd, a window of 128 MB": _packed(ZSTD, _wide_window(record(key=b"k"))),
        "zstd, 400 MB of zeros": _packed(ZSTD, _zeros()),
        "gzip, 5 MB of zeros": _packed(GZIP, gzip.compress(plain)),
        "lz4, 5 MB of zeros": _packed(LZ4, lz4.frame.compress(plain, block_linked=False)),
        "snappy, 5 MB of zeros": _packed(SNAPPY, snappy_encode(plain)),
        "zstd, 60 records of 1 MB": _packed(ZSTD, zstd.compress(_many(60, bytes(1_000_000))), 60),
        "zstd, 90 records of 1 MB": _packed(ZSTD, zstd.compress(_many(90, bytes(1_000_000))), 90),
        "three records, the second odd": batch(
            record(0, key=b"k"),
            record(1, key=b"k", headers=[(odd_name, b"1")]),
            record(2, key=b"k"),
        ),
        "unfinished transaction of nobody": batch(record(key=b"k"), attributes=TRANSACTIONAL),
        "control record of a stranger": batch(record(), attributes=CONTROL),
        "compression type 7": batch(record(), attributes=7),
        "checksum wrong": batch(record(), crc=1),
        "magic 3": batch(record(), magic=3),
        "negative count": batch(record(), count=-1),
        "count too large": batch(record(), count=1_000),
        "length too small": batch(record(), length=3),
        "length too large": batch(record(), length=2**31 - 1),
        "record length negative": batch(record(length=-1)),
        "record length too large": batch(record(length=2**31 - 1)),
        "header count absurd": batch(record(header_count=2**31 - 1)),
        "bytes behind the headers": batch(record(tail=b"more")),
        "number of 11 bytes": batch(b"\xff" * 11 + record()),
        **_odd_batches(),
        "nothing": b"",
        "not a batch": b"GET / HTTP/1.1\r\nHost: kafka\r\n\r\n" + bytes(100),
    }


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes of a stored batch that become others; its checksum may be made right again."""

    at: int
    data: bytes
    is_signed: bool = False


def _body(data: bytes, at: int = 0) -> Damage:
    return Damage(HEAD_BYTES + at, data, is_signed=True)


# Magic below 2 isn't among them: a broker then fails itself, on the whole partition.
DAMAGED: Mapping[str, Damage] = {
    "checksum": Damage(17, b"\x00\x00\x00\x00"),
    "a byte of the value": Damage(HEAD_BYTES + 20, b"\xff"),
    "magic 3": Damage(16, b"\x03"),
    "magic 127": Damage(16, b"\x7f"),
    **{f"compression type {codec}": Damage(21, bytes([0, codec]), True) for codec in range(1, 8)},
    "abort marker of no transaction": Damage(21, b"\x00\x30", is_signed=True),
    "producer id 7, epoch 9": Damage(43, struct.pack(">qhi", 7, 9, 3), is_signed=True),
    "unknown attributes": Damage(21, b"\x7f\x80", is_signed=True),
    "leader epoch of the future": Damage(12, b"\x7f\xff\xff\xff"),
    "max time negative": Damage(35, b"\x80" + bytes(7), is_signed=True),
    "control": Damage(21, b"\x00\x20", is_signed=True),
    "all attributes": Damage(21, b"\xff\xf8", is_signed=True),
    "last offset delta -1": Damage(23, b"\xff\xff\xff\xff", is_signed=True),
    "last offset delta huge, checksum wrong": Damage(23, b"\x7f\xff\xff\xff"),
    "last offset delta huge": Damage(23, b"\x7f\xff\xff\xff", is_signed=True),
    "first time negative": Damage(27, b"\x80" + bytes(7), is_signed=True),
    "count -1": Damage(57, b"\xff\xff\xff\xff", is_signed=True),
    "count 0": Damage(57, bytes(4), is_signed=True),
    "count huge": Damage(57, b"\x7f\xff\xff\xff", is_signed=True),
    "record length negative": _body(b"\x01"),
    "record length too large": _body(b"\xff\xff\xff\xff\x0f"),
    "record length without end": _body(b"\xff" * 12),
    "offset delta negative": _body(b"\x01", 4),
    "offset delta huge": _body(b"\xfe\xff\xff\xff\x0f", 4),
    "key length huge": _body(b"\xfe\xff\xff\xff\x0f", 5),
    "zeros": _body(bytes(60)),
    "ones": _body(b"\xff" * 60),
}


@dataclass(frozen=True, slots=True)
class Laid:
    """Where a batch lies: the error code 0, or why the broker refused it."""

    name: str
    partition: int
    offset: int
    count: int
    error: int


async def lay(
    servers: str, topic: str, partitions: int, batches: Mapping[str, bytes]
) -> Sequence[Laid]:
    """Send each batch to a partition, in turn."""
    laid: list[Laid] = []
    for number, (name, data) in enumerate(batches.items()):
        partition = number % partitions
        error, offset = await produce_raw(servers, topic, partition, data)
        (count,) = struct.unpack_from(">i", data, 57) if len(data) >= HEAD_BYTES else (1,)
        laid.append(Laid(name, partition, offset, max(1, count), error))
    return laid


def sound_batch(name: str) -> bytes:
    """What is damaged later: a record of 100 bytes that names its damage."""
    return batch(record(key=b"k", value=f"<{name}>".encode().ljust(92, b".")))


async def damage(records: Path, topic: str, laid: Sequence[Laid]) -> None:
    """Change stored batches on the broker's disk."""
    await asyncio.to_thread(_damage, records, topic, laid)


def _damage(records: Path, topic: str, laid: Sequence[Laid]) -> None:
    for place in laid:
        (segment,) = (records / f"{topic}-{place.partition}").glob("*.log")
        with segment.open("r+b") as file:
            stored = file.read()
            marker, sound = f"<{place.name}>".encode(), sound_batch(place.name)
            begin = stored.index(marker) - sound.index(marker)
            wrong = DAMAGED[place.name]
            data = bytearray(stored[begin : begin + len(sound)])
            data[wrong.at : wrong.at + len(wrong.data)] = wrong.data
            if wrong.is_signed:
                data[17:21] = struct.pack(">I", calc_crc32c(bytes(data[21:])))
            file.seek(begin)
            file.write(data)


def _wide_window(data: bytes) -> bytes:
    options: dict[int, int] = {zstd.CompressionParameter.window_log: 27}
    packer = zstd.ZstdCompressor(options=options)
    return packer.compress(data) + packer.flush()
