"""Signs people up over a number of kept connections, as fast as they are answered or at a rate.

`python -m benchmarks.signup_load PORT --connections 64 --seconds 5 [--rate 500]` prints JSON. It is
a process of its own, and does as little as it can: no client library, and of what it gets it reads
the status and the length only.

At a rate, a request that must wait for a free connection has its time counted from when it was due:
else a server that stands still would be asked less while it does (coordinated omission).
"""

import argparse
import asyncio
import json
import secrets
import statistics
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass, field

_PATH = "/v1/signups"
_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = b"content-length: "
_TICK_S = 0.001


@dataclass(frozen=True, slots=True)
class Load:
    """What was asked and answered. Times are milliseconds; the client's own CPU is told as well."""

    answers: int
    refused: int
    seconds: float
    per_second: float
    p50_ms: float
    p99_ms: float
    client_us: float


@dataclass(slots=True)
class _People:
    """New addresses, and the answers to their signups."""

    port: int
    name: str = field(default_factory=lambda: secrets.token_hex(4))
    sent: int = 0
    refused: int = 0
    took_s: list[float] = field(default_factory=list)

    def next_request(self) -> bytes:
        self.sent += 1
        body = b'{"email":"%s-%d@example.com"}' % (self.name.encode(), self.sent)
        head = (
            f"POST {_PATH} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


class _Connection(asyncio.Protocol):
    """One connection: a request, its answer, the next request."""

    def __init__(self, people: _People, on_free: "deque[_Connection] | None") -> None:
        self._people = people
        self._free = on_free
        self._answer = b""
        self._since_s = 0.0
        self._transport: asyncio.Transport | None = None
        self.is_ending = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def ask(self, since_s: float) -> None:
        """Send a request whose time counts from then on."""
        assert self._transport
        self._since_s = since_s
        self._transport.write(self._people.next_request())

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, end, body = self._answer.partition(_END_OF_HEAD)
        if not end:
            return
        length = head.lower().partition(_LENGTH)[2].partition(b"\r")[0]
        if len(body) < int(length):
            return
        now_s = time.perf_counter()
        self._people.took_s.append(now_s - self._since_s)
        self._people.refused += not head.startswith(b"HTTP/1.1 202")
        self._answer = b""
        if self._free is not None:
            self._free.append(self)
        elif not self.is_ending:
            self.ask(now_s)

    def connection_lost(self, exc: Exception | None) -> None:
        assert self.is_ending, exc

    def close(self) -> None:
        self.is_ending = True
        assert self._transport
        self._transport.close()


async def as_fast_as_answered(port: int, connections: int, seconds: float) -> Load:
    """Let every connection ask again as soon as it was answered."""
    people = _People(port)
    opened = [await _open(people, None) for _ in range(connections)]
    began_s, cpu_s = time.perf_counter(), time.process_time()
    for each in opened:
        each.ask(began_s)
    await asyncio.sleep(seconds)
    return _end(people, opened, began_s, cpu_s)


async def at_rate(port: int, connections: int, seconds: float, rate: float) -> Load:
    """Ask so many times a second, whether or not earlier requests are answered."""
    people = _People(port)
    free: deque[_Connection] = deque()
    opened = [await _open(people, free) for _ in range(connections)]
    free.extend(opened)
    began_s, cpu_s = time.perf_counter(), time.process_time()
    while (now_s := time.perf_counter()) - began_s < seconds:
        while free and (due_s := began_s + people.sent / rate) <= now_s:
            free.popleft().ask(due_s)
        await asyncio.sleep(_TICK_S)
    return _end(people, opened, began_s, cpu_s)


async def _open(people: _People, free: "deque[_Connection] | None") -> _Connection:
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(
        lambda: _Connection(people, free), "127.0.0.1", people.port
    )
    return connection


def _end(people: _People, opened: list[_Connection], began_s: float, cpu_s: float) -> Load:
    seconds, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
    for each in opened:
        each.close()
    answers = len(people.took_s)
    hundredths = statistics.quantiles(people.took_s, n=100)
    return Load(
        answers=answers,
        refused=people.refused,
        seconds=seconds,
        per_second=answers / seconds,
        p50_ms=hundredths[49] * 1000,
        p99_ms=hundredths[98] * 1000,
        client_us=cpu_s / answers * 1e6,
    )


def main() -> None:
    """Print what was answered, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rate", type=float)
    given = parser.parse_args()
    if given.rate:
        load = at_rate(given.port, given.connections, given.seconds, given.rate)
    else:
        load = as_fast_as_answered(given.port, given.connections, given.seconds)
    json.dump(asdict(asyncio.run(load)), sys.stdout)


if __name__ == "__main__":
    main()
