"""A relay or a broker that is away for a while: nothing lost, and one line on each change."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path

import httpx
import pytest

from support.conditions import until
from support.pipeline import Pipeline
from support.signups import all_arrived, recipient_of, sign_up

PACE_S = 0.2


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "outage_s", [20, pytest.param(60, marks=pytest.mark.guarantees)], ids="{} s".format
)
@pytest.mark.parametrize(
    ("victim", "dependency", "who"),
    [
        ("inbox", "relay", ["sender-0", "sender-1"]),
        ("kafka", "broker", ["signup", "sender-0", "sender-1"]),
    ],
)
async def test_an_outage_loses_nothing(
    tmp_path: Path,
    *,
    victim: str,
    dependency: str,
    who: list[str],
    outage_s: int,
    figure: Callable[[str], None],
) -> None:
    accepted: set[str] = set()
    numbers = count()
    async with (
        Pipeline(tmp_path) as pipeline,
        httpx.AsyncClient(base_url=pipeline.signup_url, timeout=30) as http,
    ):

        async def sign_up_for(seconds: float) -> None:
            end_s = time.monotonic() + seconds
            while time.monotonic() < end_s:
                address = f"user{next(numbers)}@example.test"
                await sign_up(http, address)
                accepted.add(address)
                await asyncio.sleep(PACE_S)

        await sign_up_for(3)
        await until(lambda: all_arrived(pipeline, accepted), "the first mails arrived")
        await pipeline.kill(victim)
        await sign_up_for(outage_s)
        back_s = time.monotonic()
        await pipeline.restart(victim)
        await sign_up_for(3)
        await until(lambda: all_arrived(pipeline, accepted), "all mails arrived", timeout_s=120)
        took_s = time.monotonic() - back_s
        counts = Counter(map(recipient_of, await pipeline.mails()))
        logs = {name: pipeline.log(name) for name in pipeline.processes}
    twice = sum(number - 1 for number in counts.values())
    figure(
        f"{len(accepted)} signups: 0 lost, {twice} second copies, all there after {took_s:.0f} s"
    )
    assert twice == 0
    assert not [name for name, log in logs.items() if "Traceback" in log]
    for name in who:
        # A process that had nothing to send may not have noticed; nobody says it twice.
        assert logs[name].count(f'"{dependency}.unavailable"') == 1, name
        assert logs[name].count(f'"{dependency}.available"') == 1, name
