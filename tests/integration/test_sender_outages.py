"""Kafka is away for longer than any client's patience."""

import asyncio
import os
import signal
import time
from collections import Counter
from pathlib import Path

from mailtopic_cli.kafka_node import KafkaNode
from mailtopic_contract import Outcome
from support.conditions import until
from support.senders import Bench

PATIENCE_S = 42
"""aiokafka's producer gives records up after 40 s where one lets it."""


async def hold_mails(bench: Bench, count: int) -> list[str]:
    """Publish mails whose final reply takes a while, and wait until the relay has some."""
    bench.relay.delay_s = {"dot": 1.0}
    addresses = [f"user{number}@example.com" for number in range(count)]
    await asyncio.gather(*(bench.mails.send_code("123456", address) for address in addresses))
    await until(lambda: _mails_begun(bench) > 1, "mails are under way")
    return addresses


def _mails_begun(bench: Bench) -> int:
    return sum(line.upper().startswith("MAIL") for _, line in bench.relay.commands)


async def test_every_outcome_is_recorded_once_after_a_long_outage(
    own_kafka: KafkaNode, topic: str, tmp_path: Path
) -> None:
    async with Bench(tmp_path, own_kafka.bootstrap_servers, topic) as bench:
        await bench.start_ready()
        everybody = await hold_mails(bench, 40)
        await own_kafka.kill()
        away_until_s = time.monotonic() + PATIENCE_S
        await until(
            lambda: time.monotonic() > away_until_s, "the outage is long", timeout_s=2 * PATIENCE_S
        )
        assert await bench.probe("livez") == "ok\n"
        await own_kafka.start()
        bench.relay.delay_s = 0.0
        await bench.delivered(everybody, timeout_s=120)

        async def all_recorded() -> bool:
            return len({event.id for event in await bench.events()}) == len(everybody)

        await until(all_recorded, "every mail has an outcome", timeout_s=60)
        events = await bench.events()
        assert {event.outcome for event in events} == {Outcome.ACCEPTED}
        assert set(Counter(event.id for event in events).values()) == {1}
        assert set(bench.deliveries().values()) == {1}


async def test_it_ends_in_time_while_kafka_is_away(
    own_kafka: KafkaNode, topic: str, tmp_path: Path
) -> None:
    async with Bench(tmp_path, own_kafka.bootstrap_servers, topic) as bench:
        bench.settings["MAILTOPIC_DELIVERY__DRAIN_TIMEOUT_S"] = "3"
        sender = await bench.start_ready()
        await hold_mails(bench, 40)
        await own_kafka.kill()
        await until(lambda: "broker.unavailable" in bench.log(), "the sender says so")
        os.kill(sender.pid, signal.SIGTERM)
        assert await asyncio.wait_for(sender.wait(), 3 + 15) == 0
        assert "drain.timeout" in bench.log()
        assert "Traceback" not in bench.log()
