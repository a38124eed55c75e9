"""Asks a process whether it is ready. Hand-written HTTP, because importing a client takes long."""

import asyncio
import contextlib
from urllib.parse import urlsplit

_ANSWER_BYTES = 4096
_REASON_CHARS = 200
_TIMEOUT_S = 3.0
_NOT_THERE = "does not answer yet"


async def not_ready(url: str) -> str | None:
    """Why a process is not ready, from its /readyz; None if it is."""
    parts = urlsplit(url)
    host, port, path = parts.hostname or "", parts.port or 80, parts.path
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            answer = await _get(host, port, path)
    except (OSError, TimeoutError):
        return _NOT_THERE
    head, _, body = answer.partition("\r\n\r\n")
    status = head.split(" ", 2)[1:2]
    if status == ["200"]:
        return None
    reason = body.strip().splitlines()[-1:] or head.splitlines()[:1]
    return reason[0][:_REASON_CHARS] if reason else _NOT_THERE


async def _get(host: str, port: int, path: str) -> str:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        request = f"GET {path} HTTP/1.0\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"
        writer.write(request.encode("ascii"))
        answer = b""
        while len(answer) < _ANSWER_BYTES and (chunk := await reader.read(_ANSWER_BYTES)):
            answer += chunk
        return answer.decode("utf-8", errors="replace")
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
