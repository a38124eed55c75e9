"""HTTP over one connection, by hand: a client library takes longer than the server."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, and the seconds until its head was there."""

    status: int
    body: Any
    seconds: float


@dataclass(frozen=True, slots=True)
class RawConnection:
    """One connection that is kept; requests go over it one after the other."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def request(self, method: str, path: str, body: object = None) -> Answer:
        """Send a request, and read its answer to the end."""
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        sent = f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content
        began_s = time.perf_counter()
        self.writer.write(sent)
        answer = await self.reader.readuntil(b"\r\n\r\n")
        seconds = time.perf_counter() - began_s
        length = int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        found = json.loads(await self.reader.readexactly(length))
        return Answer(int(answer.split(b" ", 2)[1]), found, seconds)


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[RawConnection]:
    """A connection to a server on this machine."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    yield RawConnection(reader, writer)
    writer.close()
