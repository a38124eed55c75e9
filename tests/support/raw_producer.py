"""A Produce request with arbitrary bytes as record batches, unchecked by a client library."""

import asyncio
import struct

_PRODUCE = 0
_VERSION = 7  # the first that takes zstd (KIP-110); tagged fields come later


async def produce_raw(
    bootstrap_servers: str, topic: str, partition: int, batches: bytes
) -> tuple[int, int]:
    """Send batches as they are to the one broker there is; return its error code and the offset."""
    host, port = bootstrap_servers.rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        name = topic.encode()
        body = struct.pack(">hhih", _PRODUCE, _VERSION, 1, -1)
        body += struct.pack(">hhii", -1, -1, 30_000, 1)
        body += struct.pack(">h", len(name)) + name
        body += struct.pack(">iii", 1, partition, len(batches)) + batches
        writer.write(struct.pack(">i", len(body)) + body)
        async with asyncio.timeout(30):
            (size,) = struct.unpack(">i", await reader.readexactly(4))
            answer = await reader.readexactly(size)
    finally:
        writer.close()
    # Correlation id, one topic with its name, one partition.
    error, offset = struct.unpack_from(">hq", answer, 4 + 4 + 2 + len(name) + 4 + 4)
    return error, offset
