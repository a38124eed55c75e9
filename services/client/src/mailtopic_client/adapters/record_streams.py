"""Decompression in small pieces: an expanded batch is never in memory as a whole."""

import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import cramjam
import lz4.frame

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CHUNK_BYTES = 65_536
MAX_EXPANDED_BYTES = 64 * 1024 * 1024
"""What one batch may expand to. A producer's batch of 1 MiB that shrank to a tenth fits many times
over; the time that the rest would cost is bounded with it."""

_MAX_WINDOW_LOG = 23
"""8 MiB, what RFC 8878 §3.1.1.1.2 asks every decoder for; a frame could ask for 2 GiB."""

_MAX_SNAPPY_BLOCK_BYTES = 8 * 1024 * 1024
_XERIAL_HEAD = b"\x82SNAPPY\x00"
_XERIAL_HEAD_BYTES = 16
_GZIP_WBITS = 31

NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)


class StreamFault(Exception):  # noqa: N818 - it says what happened
    """The data can't be decompressed within the bounds; the text is one line without contents."""


def expand(codec: int, data: memoryview) -> Iterator[bytes | memoryview]:
    """Return what the data expands to, piece by piece.

    Args:
        codec: bits 0 to 2 of a batch's attributes.
        data: the batch's records as they are stored.

    Raises:
        StreamFault: while it is iterated, and nothing else, whatever the data is.
    """
    if codec == NONE:
        yield data
        return
    open_stream = _STREAMS.get(codec)
    if open_stream is None:
        raise StreamFault(f"compression type {codec} is unknown")
    left = MAX_EXPANDED_BYTES
    try:
        for piece in open_stream(data):
            left -= len(piece)
            if left < 0:
                raise StreamFault(f"the batch expands to more than {MAX_EXPANDED_BYTES} bytes")
            yield piece
    except _ERRORS as error:
        raise StreamFault(f"the compressed data is broken: {type(error).__name__}") from None


def _gzip(data: memoryview) -> Iterator[bytes]:
    rest: bytes | memoryview = data
    while rest:
        stream = zlib.decompressobj(_GZIP_WBITS)
        while not stream.eof:
            piece = stream.decompress(rest, CHUNK_BYTES)
            rest = stream.unconsumed_tail
            if piece:
                yield piece
            elif not stream.eof and not rest:
                raise EOFError
        rest = stream.unused_data


def _frames(make: Callable[[], Any], data: memoryview) -> Iterator[bytes]:
    rest: bytes | memoryview = data
    while rest:
        stream = make()
        piece = stream.decompress(rest, CHUNK_BYTES)
        while True:
            if piece:
                yield piece
            if stream.eof:
                break
            if stream.needs_input:
                raise EOFError
            piece = stream.decompress(b"", CHUNK_BYTES)
        rest = stream.unused_data or b""


def _zstd(data: memoryview) -> Iterator[bytes]:
    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: _MAX_WINDOW_LOG}
    return _frames(lambda: zstd.ZstdDecompressor(options=options), data)


def _lz4(data: memoryview) -> Iterator[bytes]:
    return _frames(lz4.frame.LZ4FrameDecompressor, data)


def _snappy(data: memoryview) -> Iterator[bytes]:
    if bytes(data[: len(_XERIAL_HEAD)]) != _XERIAL_HEAD:
        yield _snappy_block(data)
        return
    place = _XERIAL_HEAD_BYTES
    while place < len(data):
        (size,) = struct.unpack_from(">i", data, place)
        place += 4
        if not 0 < size <= len(data) - place:
            raise EOFError
        yield _snappy_block(data[place : place + size])
        place += size


def _snappy_block(block: memoryview) -> bytes:
    # A block's header states its expanded size, which is never exceeded.
    if cramjam.snappy.decompress_raw_len(block) > _MAX_SNAPPY_BLOCK_BYTES:
        raise StreamFault(f"a block expands to more than {_MAX_SNAPPY_BLOCK_BYTES} bytes")
    return bytes(cramjam.snappy.decompress_raw(block))


_STREAMS: dict[int, Callable[[memoryview], Iterator[bytes]]] = {
    GZIP: _gzip,
    SNAPPY: _snappy,
    LZ4: _lz4,
    ZSTD: _zstd,
}
# lz4 raises RuntimeError for broken frames.
_ERRORS = (
    zlib.error,
    zstd.ZstdError,
    cramjam.DecompressionError,
    RuntimeError,
    struct.error,
    EOFError,
)
