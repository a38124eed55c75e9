"""Requests that take their time, over real connections."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.signup_process import SignupProcess

TIMEOUT_S = 1.0
HEAD = b"POST /v1/signups HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.fixture
async def signup(tmp_path: Path) -> AsyncIterator[SignupProcess]:
    timeouts = {"HTTP__HEAD_TIMEOUT_S": str(TIMEOUT_S), "HTTP__BODY_TIMEOUT_S": str(TIMEOUT_S)}
    # Nobody needs Kafka here, and a signup can do without it.
    process = SignupProcess(tmp_path, "127.0.0.1:1", "mails", settings=timeouts)
    await process.start()
    yield process
    await process.kill()


async def read_to_the_end(reader: asyncio.StreamReader) -> bytes:
    """All that comes; a byte that arrives after the server has closed ends it with a reset."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := await reader.read(65_536):
            received += chunk
    return received


async def trickle(
    process: SignupProcess, begin: bytes, *, every_s: float = 0.2
) -> tuple[bytes, float]:
    """Send a beginning and then single bytes; returns the answer and how long it took."""
    reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
    began_s = time.monotonic()
    writer.write(begin)

    async def drip() -> None:
        while True:
            await asyncio.sleep(every_s)
            writer.write(b"x")

    dripping = asyncio.create_task(drip())
    answer = await asyncio.wait_for(read_to_the_end(reader), 30)
    dripping.cancel()
    writer.close()
    return answer, time.monotonic() - began_s


@pytest.mark.parametrize("begin", [b"", b"GET /livez HT", HEAD + b"X-Slow: "])
async def test_a_head_that_does_not_come_costs_a_connection_for_a_time_only(
    signup: SignupProcess, begin: bytes
) -> None:
    answer, seconds = await trickle(signup, begin)
    assert answer == b""
    assert seconds >= TIMEOUT_S * 0.9


async def test_a_second_head_on_the_same_connection_gets_no_more_time(
    signup: SignupProcess,
) -> None:
    first = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
    answer, _ = await trickle(signup, first + b"GET /li")
    assert answer.count(b"HTTP/1.1 200") == 1


@pytest.mark.parametrize("length", [b"Content-Length: 1000\r\n", b"Transfer-Encoding: chunked\r\n"])
async def test_a_body_that_does_not_come_gets_408(signup: SignupProcess, length: bytes) -> None:
    begin = HEAD + length + b"\r\n" + (b"3e8\r\n" if b"chunked" in length else b"")
    answer, seconds = await trickle(signup, begin)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in answer
    assert seconds >= TIMEOUT_S * 0.9


async def test_an_answer_that_takes_longer_is_not_cut_off_by_the_clock_of_heads(
    signup: SignupProcess,
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", signup.port)
    for _ in range(3):
        writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
        assert head.startswith(b"HTTP/1.1 200")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        # Between two requests the connection may rest: uvicorn's own patience, 5 s.
        await asyncio.sleep(TIMEOUT_S * 1.2)
    writer.close()
