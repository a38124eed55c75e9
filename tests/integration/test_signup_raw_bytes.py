"""The service under requests that no client library would send: bytes, from a corpus and mutated.

`http_corpus` holds a file for each kind of request; a finding is kept by a file more. A run is as
long as MAILTOPIC_TEST_FUZZ_S says, five seconds by default.
"""

import asyncio
import contextlib
import os
import random
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from support.signup_process import SignupProcess
from support.signup_service import ServiceTokens

CORPUS = {path.stem: path.read_bytes() for path in Path(__file__).parent.glob("http_corpus/*")}
FUZZ_S = float(os.environ.get("MAILTOPIC_TEST_FUZZ_S", "5"))
AT_ONCE = 8
# With a body that lacks a byte the service waits; here for less than a second.
PATIENCE_S = "0.5"
STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3}) ")
TOKENS = (
    *(b"\r\n", b"\n", b"\x00", b"\xff", b" ", b":", b"%", b"%00", b"%ff", b";", b",", b'"', b"\\"),
    *(b"9" * 5000, b"A" * 20_000, b"Content-Length: 1\r\n", b"Transfer-Encoding: chunked\r\n"),
    *(b"HTTP/1.0", b"HTTP/9.9", b"\xef\xbb\xbf", b"\\ud800", b"[" * 3000, b"-1", b"1e999", b"*"),
)


@pytest.fixture
async def signup(tmp_path: Path) -> AsyncIterator[SignupProcess]:
    (tmp_path / "tokens.json").write_text(ServiceTokens.make().file)
    settings = {
        "MAILS__TOKENS_FILE": str(tmp_path / "tokens.json"),
        "DATABASE__SYNCHRONOUS": "NORMAL",
        "HTTP__HEAD_TIMEOUT_S": PATIENCE_S,
        "HTTP__BODY_TIMEOUT_S": PATIENCE_S,
        "CLIENTS__TRUSTED_PROXIES": "1",
    }
    process = SignupProcess(tmp_path, "127.0.0.1:1", "mails", settings=settings)
    await process.start()
    yield process
    await process.kill()


async def exchange(port: int, sent: bytes) -> bytes:
    """Send bytes and the end of the stream; returns all that comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = b""
    with contextlib.suppress(OSError):
        writer.write(sent)
        writer.write_eof()
        while chunk := await asyncio.wait_for(reader.read(65_536), 30):
            received += chunk
    writer.transport.abort()
    return received


def mutated(chance: random.Random) -> bytes:
    content = bytearray(chance.choice(list(CORPUS.values())))
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(content) + 1)
        until = at + chance.choice((0, 0, 1, 3, 40))
        match chance.randrange(4):
            case 0:
                content[at:until] = chance.choice(TOKENS)
            case 1:
                content[at:until] = chance.randbytes(chance.randint(0, 4))
            case 2:
                content[at:until] = content[at:until] * 2
            case _:
                other = chance.choice(list(CORPUS.values()))
                begin = chance.randrange(len(other))
                content[at:until] = other[begin : begin + chance.randint(1, 200)]
    return bytes(content)


async def check(signup: SignupProcess, statuses: Counter[str]) -> None:
    assert signup.process
    assert signup.process.returncode is None
    assert not [status for status in statuses if status.startswith("5") and status != "501"]
    log = signup.log_file.read_text()
    assert "Traceback" not in log
    assert not [line for line in signup.log_lines() if line["level"] in {"error", "critical"}]
    async with httpx.AsyncClient(timeout=30) as client:
        assert (await client.get(f"{signup.url}/livez")).status_code == 200


@pytest.mark.parametrize("name", ["charset-digits", "signup"])
def test_the_corpus_is_there(name: str) -> None:
    assert len(CORPUS) > 50
    assert CORPUS[name].startswith(b"POST ")


async def test_nothing_in_the_corpus_is_a_500(
    signup: SignupProcess, figure: Callable[[str], None]
) -> None:
    statuses: Counter[str] = Counter()
    for name, sent in CORPUS.items():
        answer = await exchange(signup.port, sent)
        found = [status.decode() for status in STATUS.findall(answer)]
        statuses.update(found)
        assert not [status for status in found if status[0] == "5" and status != "501"], name
        if found and found[-1][0] in "45" and b"HEAD" not in sent:
            assert b"application/problem+json" in answer, name
    figure(f"{len(CORPUS)} requests: {dict(statuses)}")
    await check(signup, statuses)


@pytest.mark.timeout(FUZZ_S + 120)
async def test_no_bytes_are_a_500(signup: SignupProcess, figure: Callable[[str], None]) -> None:
    seed = random.SystemRandom().randrange(2**32)
    chance = random.Random(seed)  # noqa: S311 - to be repeatable
    statuses: Counter[str] = Counter()
    ends_s = time.monotonic() + FUZZ_S
    inputs = 0

    async def fuzz() -> None:
        nonlocal inputs
        while time.monotonic() < ends_s:
            sent = mutated(chance)
            inputs += 1
            found = [each.decode() for each in STATUS.findall(await exchange(signup.port, sent))]
            statuses.update(found)
            assert not [each for each in found if each[0] == "5" and each != "501"], (seed, sent)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(fuzz())
    figure(f"seed {seed}: {inputs} inputs, answers {dict(statuses)}")
    await check(signup, statuses)
