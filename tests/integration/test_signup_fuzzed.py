"""The API under whatever its OpenAPI allows and forbids (Schemathesis, all of its checks)."""

import asyncio
import os
import re
import secrets
import sysconfig
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.signup_process import SignupProcess
from support.signup_service import ServiceTokens

SUPPORT = Path(__file__).parents[1] / "support"
TOPIC = "mails"
PARTS = 4
"""Of the ten thousand cases; each has a service and a seed of its own."""

NOBODY = "127.0.0.1:1"  # the API answers without a broker


@pytest.fixture
def tokens() -> ServiceTokens:
    return ServiceTokens.make()


@pytest.fixture
async def api(tmp_path: Path, tokens: ServiceTokens) -> AsyncIterator[SignupProcess]:
    (tmp_path / "tokens.json").write_text(tokens.file)
    settings = {
        "MAILS__TOKENS_FILE": str(tmp_path / "tokens.json"),
        # What is tried here is no power failure.
        "DATABASE__SYNCHRONOUS": "NORMAL",
        # Answers are counted by their lines.
        "HTTP__LOGGED_REQUESTS_PER_S": "0",
    }
    process = SignupProcess(tmp_path, NOBODY, TOPIC, settings=settings)
    await process.start()
    yield process
    await process.kill()


@dataclass(frozen=True, slots=True)
class Fuzzed:
    """What a run found; ``report`` is what it wrote."""

    exit_code: int
    report: str
    cases: int


async def fuzz(api: SignupProcess, token: str, *, examples: int, seed: int) -> Fuzzed:
    """Run every phase and every check over every operation."""
    process = await asyncio.create_subprocess_exec(
        Path(sysconfig.get_path("scripts")) / "schemathesis",
        *("--config-file", SUPPORT / "schemathesis.toml"),
        *("run", f"{api.url}/openapi.json", "--no-color", "--checks", "all"),
        *("--max-examples", str(examples), "--seed", str(seed), "--continue-on-failure"),
        *("--generation-database", "none", "--request-timeout", "60"),
        *("-H", f"Authorization: Bearer {token}"),
        cwd=api.folder,
        env=os.environ
        | {"PYTHONPATH": str(SUPPORT.parent), "SCHEMATHESIS_HOOKS": "support.schemathesis_hooks"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        written = (await process.communicate())[0].decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    found = re.search(r"([0-9,]+) generated", written)
    cases = int(found[1].replace(",", "")) if found else 0
    return Fuzzed(process.returncode or 0, written, cases)


def answered(api: SignupProcess) -> dict[str, int]:
    """How often the service answered with which status, by its own log."""
    counts: dict[str, int] = {}
    for line in api.log_lines():
        if line["event"] == "request.done":
            counts[str(line["status"])] = counts.get(str(line["status"]), 0) + 1
    return dict(sorted(counts.items()))


def check(api: SignupProcess, fuzzed: Fuzzed, tokens: ServiceTokens, least: int) -> None:
    assert fuzzed.exit_code == 0, fuzzed.report
    assert fuzzed.cases >= least, fuzzed.report
    statuses = answered(api)
    # A 503 would be documented, but the database is there.
    assert not [status for status in statuses if status >= "500"], statuses
    assert {"200", "202", "400", "401", "403", "404", "405", "415", "422"} <= set(statuses)
    log = api.log_file.read_text()
    assert "Traceback" not in log
    assert tokens.billing not in log


async def test_no_case_finds_a_5xx_or_an_undocumented_answer(
    api: SignupProcess, tokens: ServiceTokens, figure: Callable[[str], None]
) -> None:
    fuzzed = await fuzz(api, tokens.billing, examples=25, seed=1)
    figure(f"{fuzzed.cases} cases, answers {answered(api)}")
    check(api, fuzzed, tokens, least=500)


@pytest.mark.guarantees
@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", range(1, PARTS + 1))
async def test_ten_thousand_cases_find_no_5xx_and_no_undocumented_answer(
    api: SignupProcess, tokens: ServiceTokens, figure: Callable[[str], None], part: int
) -> None:
    seed = secrets.randbelow(2**32)
    fuzzed = await fuzz(api, tokens.billing, examples=210, seed=seed)
    figure(f"part {part}: {fuzzed.cases} cases with seed {seed}, answers {answered(api)}")
    check(api, fuzzed, tokens, least=10_000 // PARTS)
