"""What one sender left half done, another one finishes, on real Kafka."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiokafka
import pytest

from mailtopic_cli.kafka_node import KafkaNode
from mailtopic_contract import MailHeaders, Outcome, RecordOrigin, StatusEvent, new_record
from support.conditions import until
from support.senders import Bench


@pytest.fixture
async def bench(kafka: KafkaNode, topic: str, tmp_path: Path) -> AsyncIterator[Bench]:
    async with Bench(tmp_path, kafka.bootstrap_servers, topic) as bench:
        yield bench


async def commit_nothing_done(bench: Bench, partition: int) -> None:
    """Commit what a sender commits before it handles a partition's first record."""
    consumer = aiokafka.AIOKafkaConsumer(
        bootstrap_servers=bench.servers, group_id=bench.topic, enable_auto_commit=False
    )
    await consumer.start()
    try:
        place = aiokafka.TopicPartition(bench.topic, partition)
        consumer.assign([place])
        await consumer.commit({place: (0, "v1||0")})
    finally:
        await consumer.stop()


@pytest.mark.parametrize("died", ["before the retry record", "after the retry record"])
async def test_a_mail_whose_deferral_was_cut_short_is_sent_once(bench: Bench, died: str) -> None:
    bench.settings["MAILTOPIC_DELIVERY__RETRY_TIERS"] = "8s,16s"
    first = await bench.start_ready()
    assert await first.end(grace_s=30) == 0

    # The next sender must be there before the retry is due: 8 s, of which a start takes two.
    now_ms = time.time_ns() // 1_000_000
    mail = new_record(
        email="half@example.com",
        variables={"code": "123456"},
        purpose="signup",
        locale="ru",
        accepted_at_ms=now_ms,
        expires_at_ms=now_ms + 600_000,
        seal=bench.seal,
    )
    stored = await bench.mails.publish(mail)
    deferred = StatusEvent(
        id=mail.id,
        outcome=Outcome.DEFERRED,
        at=now_ms,
        attempt=1,
        purpose="signup",
        tier="8s",
        not_before=now_ms + 8_000,
    )
    status, tier = f"{bench.topic}.status", f"{bench.topic}.retry.8s"
    await bench.broker.publish(
        status, key=deferred.key, value=deferred.encode(), partition=stored.partition
    )
    if died == "after the retry record":
        headers = MailHeaders(
            mail_id=mail.id,
            attempt=2,
            not_before_ms=now_ms + 8_000,
            origin=RecordOrigin(bench.topic, stored.partition, stored.offset, now_ms),
        )
        await bench.broker.publish(
            tier,
            key=mail.address.partition_key,
            value=mail.encode(),
            headers=headers.encode(),
            partition=stored.partition,
        )
    await commit_nothing_done(bench, stored.partition)

    await bench.start_ready()
    await bench.delivered(["half@example.com"])
    copies = 1 if died == "before the retry record" else 2

    async def both_groups_are_through() -> bool:
        skipped = "mailtopic_replays_skipped_total"
        lines = (await bench.probe("metrics")).splitlines()
        return f'{skipped}{{source="ledger",topic="{bench.topic}"}} {copies}.0' in lines

    await until(both_groups_are_through, "every copy was looked at")
    assert len(await bench.records(tier)) == copies
    assert bench.deliveries() == {"half@example.com": 1}
    assert [(e.outcome, e.attempt) for e in await bench.events()] == [
        (Outcome.DEFERRED, 1),
        (Outcome.ACCEPTED, 2),
    ]
