"""How long an answer takes doesn't tell what is known of an address, to less than a millisecond.

Requests of all kinds take turns over one connection, so that whatever else the machine does hits
all kinds alike; of each turn only differences are looked at. Their median is known to be in an
interval of ranks, whatever their distribution is (the sign test). It is narrowed until it says yes
or no.
"""

import contextlib
import random
import sqlite3
import statistics
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path

import pytest

from mailtopic_contract import parse_address
from mailtopic_signup.domain.mailbox import address_key
from support.raw_http import RawConnection, connected
from support.signup_process import SignupProcess

KINDS = ("new", "known", "cooling", "locked", "suppressed")
BOUND_MS = 0.5
"""What is the same differs by less: half of what must be found."""
LEAST_TURNS, MOST_TURNS = 200, 1500
_SIGMAS = 3.5
_FAR = 1 << 42

Request = Callable[[str], Awaitable[float]]


async def differences(
    request: Request, kinds: Mapping[str, Callable[[int], str]], first: int = 0
) -> dict[str, float]:
    """Return how many milliseconds longer each kind takes than the first one, by its median.

    It measures until every median is surely below BOUND_MS or surely above.
    """
    reference, *others = kinds
    gaps: dict[str, list[float]] = {kind: [] for kind in others}
    dice = random.Random(11)  # noqa: S311 - to be repeatable
    for turn in range(first, first + MOST_TURNS):
        order = list(kinds)
        dice.shuffle(order)
        took = {kind: await request(kinds[kind](turn)) for kind in order}
        for kind in others:
            gaps[kind].append((took[kind] - took[reference]) * 1000)
        if turn - first >= LEAST_TURNS and turn % 50 == 0 and all(map(is_decided, gaps.values())):
            break
    return {kind: statistics.median(each) for kind, each in gaps.items()}


def is_decided(gaps: list[float]) -> bool:
    """Whether the interval of the median is on one side of the bound."""
    ordered = sorted(gaps)
    half = _SIGMAS * len(ordered) ** 0.5 / 2
    low = ordered[max(0, int(len(ordered) / 2 - half))]
    high = ordered[min(len(ordered) - 1, int(len(ordered) / 2 + half))]
    return (low > -BOUND_MS and high < BOUND_MS) or high < -BOUND_MS or low > BOUND_MS


@pytest.fixture
async def signup(tmp_path: Path) -> AsyncIterator[SignupProcess]:
    # Without Kafka: mails wait in the outbox, as they do when it is away.
    process = SignupProcess(
        tmp_path, "127.0.0.1:1", "mails", settings={"DATABASE__SYNCHRONOUS": "NORMAL"}
    )
    await process.start()
    prepare(tmp_path / "signup.db")
    yield process
    await process.kill()


def prepare(file: Path) -> None:
    """Write addresses of each kind, as if they had done all that."""
    numbers = range(3 * MOST_TURNS)
    now_ms = time.time_ns() // 1_000_000
    users: list[tuple[str, str, int, int | None]] = []
    users += [(uuid.uuid4().hex, address("known", n), 1, 1) for n in numbers]
    users += [(uuid.uuid4().hex, address("locked", n), 1, None) for n in numbers]
    hour_ms, mail = 3_600_000, uuid.uuid4().hex
    locked = [(key_of("locked", n), 0, mail, 10, now_ms, 0) for n in numbers]
    cooling = [(key_of("cooling", n), now_ms + hour_ms, mail, 0, 0, now_ms) for n in numbers]
    suppressed = [(key_of("suppressed", n), _FAR, _FAR) for n in numbers]
    with contextlib.closing(sqlite3.connect(file, timeout=60)) as connection, connection:
        connection.executemany(
            "INSERT INTO users (id, address, created_at, verified_at) VALUES (?, ?, ?, ?)", users
        )
        connection.executemany(
            "INSERT INTO address_limits (address_key, next_mail_at, last_mail_id, failures, "
            "last_failure_at, last_mail_at) VALUES (?, ?, ?, ?, ?, ?)",
            locked + cooling,
        )
        connection.executemany(
            "INSERT INTO suppressions (address_key, recipient, reason, bounced_at, bypass_after, "
            "until) VALUES (?, 'x', 'bounce', 1, ?, ?)",
            suppressed,
        )


def address(kind: str, number: int) -> str:
    return f"{kind}{number:05}@{'x' * (12 - len(kind))}.example.com"


def key_of(kind: str, number: int) -> str:
    return address_key(parse_address(address(kind, number)))


def timed(connection: RawConnection) -> Request:
    async def request(email: str) -> float:
        answer = await connection.request("POST", "/v1/signups", {"email": email})
        assert answer.status == 202, answer
        return answer.seconds

    return request


@pytest.mark.timeout(300)
async def test_an_answer_takes_as_long_whatever_is_known_of_the_address(
    signup: SignupProcess, figure: Callable[[str], None]
) -> None:
    kinds = {kind: lambda n, kind=kind: address(kind, n) for kind in KINDS}
    async with connected(signup.port) as connection:
        found = await differences(timed(connection), kinds)
    figure(", ".join(f"{kind} {gap:+.3f} ms" for kind, gap in found.items()))
    assert {kind: gap for kind, gap in found.items() if abs(gap) > BOUND_MS} == {}


@pytest.mark.timeout(300)
async def test_a_millisecond_would_be_found(
    signup: SignupProcess, figure: Callable[[str], None]
) -> None:
    async with connected(signup.port) as connection:
        request = timed(connection)

        async def slower_where_known(email: str) -> float:
            seconds = await request(email)
            return seconds + 0.001 * email.startswith("known")

        kinds = {kind: lambda n, kind=kind: address(kind, n) for kind in ("new", "known")}
        found = await differences(slower_where_known, kinds, first=MOST_TURNS)
    figure(f"one millisecond is seen as {found['known']:+.3f} ms")
    assert found["known"] > BOUND_MS
