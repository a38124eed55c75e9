"""Nothing that was acknowledged is lost when a process is killed in the middle of its work."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from support.conditions import until
from support.pipeline import Pipeline
from support.signups import all_arrived, recipient_of, sign_everybody_up

SIGNUPS = 2_000
KILL_AFTER = SIGNUPS // 3
IN_FLIGHT_AT_MOST = 400
"""A sender's default bound: only what was in flight at the kill can have been sent unrecorded."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("victim", ["sender-0", "signup", "kafka"])
async def test_every_signup_gets_its_mail_when_a_process_is_killed(
    tmp_path: Path, victim: str, figure: Callable[[str], None]
) -> None:
    addresses = [f"user{number}@example.test" for number in range(SIGNUPS)]
    accepted: set[str] = set()
    async with Pipeline(tmp_path) as pipeline:
        started_s = time.monotonic()
        signing_up = asyncio.create_task(sign_everybody_up(pipeline, addresses, accepted))
        await until(lambda: len(accepted) >= KILL_AFTER, "a third has signed up", timeout_s=120)
        await pipeline.kill(victim)
        await pipeline.restart(victim)
        await signing_up
        await until(lambda: all_arrived(pipeline, accepted), "all mails arrived", timeout_s=120)
        took_s = time.monotonic() - started_s
        counts = Counter(map(recipient_of, await pipeline.mails()))
        logs = pipeline.logs()
    twice = sum(count - 1 for count in counts.values())
    lost = len(accepted - set(counts))
    figure(f"{SIGNUPS} signups: {lost} lost, {twice} second copies, {took_s:.0f} s")
    assert (len(accepted), lost) == (SIGNUPS, 0)
    assert twice <= IN_FLIGHT_AT_MOST
    assert "Traceback" not in logs
