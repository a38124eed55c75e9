"""The service beside clients that hold connections, feed them slowly, or read nothing."""

import asyncio
import contextlib
import re
import resource
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from support.http_siege import ATTACKS, behave, besieged
from support.signup_process import SignupProcess

NO_KAFKA = "127.0.0.1:1"
MAX_LOG_BYTES_PER_S = 100_000
SECONDS = 6.0


@pytest.fixture
async def signup(tmp_path: Path) -> AsyncIterator[SignupProcess]:
    settings = {"DATABASE__SYNCHRONOUS": "NORMAL"}
    process = SignupProcess(tmp_path, NO_KAFKA, "mails", settings=settings)
    await process.start()
    yield process
    await process.kill()


@pytest.fixture
def many_descriptors() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard < 8192:
        pytest.skip(f"this test needs 8192 descriptors; the limit is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def limit_descriptors(signup: SignupProcess, count: int) -> None:
    assert signup.process
    hard = resource.prlimit(signup.process.pid, resource.RLIMIT_NOFILE)[1]
    resource.prlimit(signup.process.pid, resource.RLIMIT_NOFILE, (count, hard))


def used(signup: SignupProcess) -> list[int]:
    """The descriptors that the service has open."""
    assert signup.process
    return [int(path.name) for path in Path(f"/proc/{signup.process.pid}/fd").iterdir()]


def log_bytes(signup: SignupProcess) -> int:
    return signup.log_file.stat().st_size


@pytest.mark.usefixtures("many_descriptors")
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("attacks", "connections"),
    [
        (["half-open"], 5000),
        (["slow heads", "slow bodies", "60 kB heads"], 600),
        (["unread answers"], 10),
    ],
    ids=["half-open", "mixed", "unread"],
)
async def test_good_clients_are_answered_beside_bad_ones(
    signup: SignupProcess,
    figure: Callable[[str], None],
    attacks: list[str],
    connections: int,
) -> None:
    limit_descriptors(signup, 1024)
    before = log_bytes(signup)
    async with besieged(signup.port, connections, attacks) as counts:
        await asyncio.sleep(2)
        good = await behave(signup.port, signups_per_s=20, seconds=SECONDS)
        assert len(used(signup)) < 1024
    written = log_bytes(signup) - before
    figure(f"{', '.join(attacks)}: {good.told()}; {dict(counts)}; {written} bytes of log")
    assert not good.errors
    assert len(good.signups_s) > SECONDS
    assert len(good.probes_s) >= SECONDS / 2
    assert written < 30 * MAX_LOG_BYTES_PER_S
    assert "Traceback" not in signup.log_file.read_text()


@pytest.mark.parametrize("limit", [128, 256])
async def test_few_descriptors_are_a_line_and_not_an_end(signup: SignupProcess, limit: int) -> None:
    limit_descriptors(signup, limit)
    before = log_bytes(signup)
    async with besieged(signup.port, 300, ["half-open", "slow heads"]):
        good = await behave(signup.port, signups_per_s=5, seconds=4)
    assert not good.errors
    assert len(good.probes_s) >= 3
    assert log_bytes(signup) - before < 30_000


async def test_it_recovers_when_there_was_no_descriptor_at_all(signup: SignupProcess) -> None:
    limit_descriptors(signup, max(used(signup)) + 1)
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(socket.create_connection(("127.0.0.1", signup.port)))
        await asyncio.sleep(2.5)
        limit_descriptors(signup, 512)
        async with httpx.AsyncClient(timeout=20) as client:
            assert (await client.get(f"{signup.url}/livez")).status_code == 200
    lines = [line for line in signup.log_lines() if line["event"] == "http.no_descriptors"]
    assert 1 <= len(lines) <= 2


async def test_a_client_beyond_its_connections_loses_its_own_only(tmp_path: Path) -> None:
    settings = {"HTTP__MAX_CONNECTIONS_PER_CLIENT": "4", "HTTP__MAX_CONNECTIONS": "16"}
    process = SignupProcess(tmp_path, NO_KAFKA, "mails", settings=settings)
    await process.start()
    mine = await asyncio.open_connection("127.0.0.1", process.port, local_addr=("127.0.0.2", 0))
    try:
        theirs = [await asyncio.open_connection("127.0.0.1", process.port) for _ in range(8)]
        for reader, _ in theirs[:4]:
            assert await asyncio.wait_for(reader.read(), 10) == b""
        for reader, writer in (mine, *theirs[4:]):
            writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert (await asyncio.wait_for(reader.read(), 10)).startswith(b"HTTP/1.1 200")
        for _, writer in (mine, *theirs):
            writer.close()
    finally:
        await process.kill()


async def test_a_flood_of_requests_is_counted_and_not_written(signup: SignupProcess) -> None:
    before = log_bytes(signup)
    request = b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"
    refused = b"NOT HTTP AT ALL\r\n\r\n"
    for _ in range(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", signup.port)
        writer.write(request * 400 + refused)
        answers = await asyncio.wait_for(reader.read(), 60)
        writer.close()
        assert len(re.findall(rb"HTTP/1\.1 404", answers)) == 400
        assert answers.count(b"HTTP/1.1 400") == 1
    assert log_bytes(signup) - before < 400_000


def test_every_attack_is_tried() -> None:
    assert len(ATTACKS) == 5
