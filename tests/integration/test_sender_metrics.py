"""What /metrics says of a real sender while mails wait, and afterwards."""

import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mailtopic_cli.kafka_node import KafkaNode
from mailtopic_observability.catalogue import SAMPLES
from support.conditions import until
from support.senders import PARTITIONS, Bench

Samples = Mapping[str, list[tuple[Mapping[str, str], float]]]


@pytest.fixture
async def bench(kafka: KafkaNode, topic: str, tmp_path: Path) -> AsyncIterator[Bench]:
    async with Bench(tmp_path, kafka.bootstrap_servers, topic) as bench:
        yield bench


async def samples(bench: Bench) -> Samples:
    found: dict[str, list[tuple[Mapping[str, str], float]]] = {}
    for family in text_string_to_metric_families(await bench.probe("metrics")):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


async def lags(bench: Bench) -> dict[tuple[str, str], float]:
    found = (await samples(bench)).get("mailtopic_lag_seconds", [])
    return {(labels["topic"], labels["partition"]): value for labels, value in found}


async def test_lag_grows_behind_a_slow_relay_and_ends_with_the_backlog(bench: Bench) -> None:
    bench.settings["MAILTOPIC_DELIVERY__MAX_IN_FLIGHT"] = "2"
    bench.relay.delay_s = {"dot": 60.0}
    await bench.start_ready()
    everybody = [f"user{number}@example.com" for number in range(60)]
    for number, address in enumerate(everybody):
        value = f'{{"email":"{address}","code":"1234"}}'.encode()
        await bench.broker.publish(
            bench.topic, key=b"k%d" % number, value=value, partition=number % PARTITIONS
        )
    main = {(bench.topic, str(number)) for number in range(PARTITIONS)}

    async def all_lag() -> bool:
        found = await lags(bench)
        return all(found.get(place, 0.0) > 1 for place in main)

    # Four records are held at most; the other partitions' lag is that of what nobody has read.
    await until(all_lag, "every partition lags")
    held = await samples(bench)
    assert held["mailtopic_in_flight"] == [({"topic": bench.topic}, 2.0)]

    bench.relay.delay_s = 0.0
    bench.relay.drop_links()
    await bench.delivered(everybody, timeout_s=120)

    async def none_lags() -> bool:
        return not any((await lags(bench)).values())

    await until(none_lags, "nothing lags", timeout_s=60)
    found = await samples(bench)
    accepted = [v for n, v in found["mailtopic_mails_total"] if n["outcome"] == "accepted"]
    assert sum(accepted) == len(everybody)
    assert found["mailtopic_delivery_seconds_count"] == [({"topic": bench.topic}, 60.0)]
    stages = {labels["stage"] for labels, _ in found["mailtopic_stage_seconds_count"]}
    assert stages == {"queue", "wait", "connect", "transmit"}
    [(_, last_s)] = found["mailtopic_last_delivery_timestamp_seconds"]
    assert 0 <= time.time() - last_s < 120
    ages = found["mailtopic_watermark_age_seconds"]
    assert main <= {(labels["topic"], labels["partition"]) for labels, _ in ages}
    assert not any(value for _, value in ages)
    assert not any(value for _, value in found["mailtopic_window_offsets"])
    shown = {*found} - {name for name in found if name.endswith("_created")}
    assert shown <= SAMPLES
    for name, found_here in found.items():
        if name.startswith("mailtopic"):
            assert "example.com" not in str(found_here)
