"""Clients that attack a server's availability, beside others that sign up."""

import asyncio
import contextlib
import math
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from support.raw_http import connected

HEAD = b"POST /v1/signups HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
LONG = HEAD + b"X-Forwarded-For: 1.2.3.4, " + b"9" * 60_000 + b"\r\nContent-Length: 2\r\n\r\n{}"
ATTACKS = {
    "half-open": (b"", b""),
    "slow heads": (HEAD + b"X-Slow: ", b"x"),
    "slow bodies": (HEAD + b"Content-Length: 10000\r\n\r\n{", b" "),
    "60 kB heads": (LONG, b""),
    "unread answers": (b"GET /static/signup.js HTTP/1.1\r\nHost: x\r\n\r\n" * 400, b""),
}
DRIP_EVERY_S = 1.0


@dataclass
class Good:
    """What the well-behaved ones got: seconds until their answers, by what they asked for."""

    signups_s: list[float] = field(default_factory=list)
    probes_s: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    def told(self) -> str:
        return (
            f"{len(self.signups_s)} signups, p99 {percentile(self.signups_s, 99) * 1000:.0f} ms; "
            f"{len(self.probes_s)} /livez, longest {max(self.probes_s, default=0) * 1000:.0f} ms; "
            f"errors {dict(self.errors)}"
        )


def percentile(values: list[float], percent: int) -> float:
    ordered = sorted(values) or [0.0]
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


@contextlib.asynccontextmanager
async def besieged(port: int, connections: int, attacks: list[str]) -> AsyncIterator[Counter[str]]:
    """Hold so many connections, shared among the attacks; one that is ended comes again."""
    counts: Counter[str] = Counter()
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_hold(port, attacks[number % len(attacks)], counts))
            for number in range(connections)
        ]
        yield counts
        for task in tasks:
            task.cancel()


async def _hold(port: int, attack: str, counts: Counter[str]) -> None:
    begin, drip = ATTACKS[attack]
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
        except OSError:
            counts["refused"] += 1
            await asyncio.sleep(DRIP_EVERY_S)
            continue
        counts[attack] += 1
        try:
            writer.write(begin)
            while not writer.transport.is_closing():
                await asyncio.sleep(DRIP_EVERY_S)
                writer.write(drip)
        except OSError:
            counts["ended"] += 1
        finally:
            writer.transport.abort()


async def behave(port: int, *, signups_per_s: float, seconds: float) -> Good:
    """Sign up at a rate and ask /livez twice a second, each over a connection of its own."""
    good = Good()
    ends_s = time.monotonic() + seconds
    async with asyncio.TaskGroup() as group:
        group.create_task(_probe(port, ends_s, good))
        while time.monotonic() < ends_s:
            group.create_task(_sign_up(port, good))
            await asyncio.sleep(1 / signups_per_s)
    return good


async def _sign_up(port: int, good: Good) -> None:
    body = {"email": f"{secrets.token_hex(6)}@example.com"}
    good.signups_s += await _ask(port, ("POST", "/v1/signups", body), 202, good)


async def _probe(port: int, ends_s: float, good: Good) -> None:
    while time.monotonic() < ends_s:
        good.probes_s += await _ask(port, ("GET", "/livez", None), 200, good)
        await asyncio.sleep(0.5)


async def _ask(port: int, request: tuple[str, str, object], status: int, good: Good) -> list[float]:
    path, began_s = request[1], time.monotonic()
    try:
        async with asyncio.timeout(30), connected(port) as connection:
            answer = await connection.request(*request)
    except (OSError, EOFError, TimeoutError) as error:
        good.errors[f"{path} {type(error).__name__}"] += 1
        return []
    if answer.status != status:
        good.errors[f"{path} {answer.status}"] += 1
    return [time.monotonic() - began_s]
