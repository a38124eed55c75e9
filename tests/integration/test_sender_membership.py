"""Static members: a restart moves nobody's partitions."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mailtopic_cli.kafka_node import KafkaNode
from support.conditions import until
from support.senders import Bench


@pytest.fixture
async def bench(kafka: KafkaNode, topic: str, tmp_path: Path) -> AsyncIterator[Bench]:
    async with Bench(tmp_path, kafka.bootstrap_servers, topic) as bench:
        bench.settings["MAILTOPIC_CONSUMER__SESSION_TIMEOUT_S"] = "45"
        yield bench


def assignments(bench: Bench, name: str) -> int:
    log = (bench.directory / f"{name}.log").read_text()
    return log.count("partitions.assigned")


async def start_member(bench: Bench, name: str) -> None:
    bench.settings["MAILTOPIC_CONSUMER__INSTANCE_ID"] = name
    await bench.start_ready(name)


async def test_a_static_member_that_comes_back_soon_moves_nobody(bench: Bench) -> None:
    await start_member(bench, "a")
    await start_member(bench, "b")
    # Two consumers each: b's two groups have given both members their share.
    await until(lambda: assignments(bench, "a") >= 4, "a knows of b")
    before = assignments(bench, "b")

    assert await bench.senders["a"].end(grace_s=40) == 0
    restarts = assignments(bench, "a")
    await start_member(bench, "a")
    assert assignments(bench, "a") == restarts + 2
    everybody = [f"user{number}@example.com" for number in range(30)]
    for address in everybody:
        await bench.mails.send_code("123456", address)
    await bench.delivered(everybody)
    assert assignments(bench, "b") == before
    assert set(bench.deliveries().values()) == {1}
