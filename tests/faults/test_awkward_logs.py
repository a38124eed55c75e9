"""Topics and groups in an awkward state: gaps, foreign metadata, records that are gone."""

import asyncio

import aiokafka
import pytest
from aiokafka.admin import RecordsToDelete

from mailtopic_contract import MailHeaders, MailRecord, decode_headers
from support.conditions import until
from support.fault_bench import FaultBench, addresses
from support.senders import PARTITIONS

KEYS = 20


async def test_aborted_transactions_leave_gaps_that_nobody_waits_for(bench: FaultBench) -> None:
    await bench.start_ready()
    producer = aiokafka.AIOKafkaProducer(
        bootstrap_servers=bench.servers, transactional_id=bench.topic
    )
    await producer.start()
    for number in range(12):
        is_aborted = bool(number % 2)
        await producer.begin_transaction()
        for address in addresses(20, f"{'aborted' if is_aborted else 'valid'}{number}-"):
            record = bench.record(address)
            await producer.send_and_wait(
                bench.topic,
                record.encode(),
                key=record.address.partition_key,
                headers=MailHeaders(mail_id=record.id).encode(),
            )
            if not is_aborted:
                bench.published[record.id] = address
        await (producer.abort_transaction() if is_aborted else producer.commit_transaction())
    await bench.publish(addresses(60, "after"))
    await producer.stop()
    ends = await bench.ends()
    verdict = await bench.settled()
    await until(lambda: bench.has_committed(ends), "the watermark passed the gaps")
    assert not verdict.lost
    assert not verdict.second_copies
    assert not [mail for mail in bench.relay.taken if mail.recipient.startswith("aborted")]
    assert "Traceback" not in bench.log()


@pytest.mark.timeout(180)
async def test_compaction_leaves_gaps_that_nobody_waits_for(bench: FaultBench) -> None:
    await bench.create_topic(
        bench.topic,
        cleanup_policy="compact",
        segment_ms="100",
        min_cleanable_dirty_ratio="0.01",
        max_compaction_lag_ms="100",
    )
    for turn in range(4):
        await asyncio.sleep(0.2)  # longer than a segment
        for number in range(PARTITIONS):
            mails = map(bench.record, addresses(KEYS, f"turn{turn}-{number}-"))
            await bench.publish_to(number, mails, key_of=key_of)
    everybody = dict(bench.published)
    await until(lambda: is_compacted(bench), "the broker has compacted the topic", timeout_s=100)
    kept = {decode_headers(r.headers).mail_id for r in await bench.records(bench.topic)}
    bench.published = {mail_id: who for mail_id, who in everybody.items() if mail_id in kept}
    await bench.start_ready()
    verdict = await bench.settled()
    ends = await bench.ends()
    await until(lambda: bench.has_committed(ends), "the watermark passed the gaps")
    assert not verdict.lost
    assert not verdict.second_copies
    assert "Traceback" not in bench.log()


def key_of(record: MailRecord) -> bytes:
    """The same for each turn's mails, so that later ones replace earlier ones."""
    return record.email.partition("-")[2].encode()


async def is_compacted(bench: FaultBench) -> bool:
    """Whether older turns are gone but for the newest that may stand beside the open segment."""
    return len(await bench.records(bench.topic)) <= 2 * PARTITIONS * KEYS


@pytest.mark.parametrize("metadata", ["garbage \u2713", "v9|AAAA|7"])
async def test_commit_metadata_that_nobody_understands_costs_nothing(
    bench: FaultBench, metadata: str
) -> None:
    sender = await bench.start_ready()
    await bench.publish(addresses(60))
    await bench.settled()
    assert await sender.end(grace_s=40) == 0
    await commit_everywhere(bench, 0, metadata)
    await bench.publish(addresses(60, "later"))
    await bench.start_ready()
    verdict = await bench.settled()
    assert bench.log().count("metadata.ignored") == PARTITIONS
    assert not verdict.lost
    assert not verdict.second_copies
    assert not verdict.decided_twice
    assert "Traceback" not in bench.log()


async def commit_everywhere(bench: FaultBench, offset: int, metadata: str) -> None:
    consumer = aiokafka.AIOKafkaConsumer(
        bootstrap_servers=bench.servers, group_id=bench.topic, enable_auto_commit=False
    )
    await consumer.start()
    places = [aiokafka.TopicPartition(bench.topic, number) for number in range(PARTITIONS)]
    consumer.assign(places)
    await consumer.commit(dict.fromkeys(places, (offset, metadata)))
    await consumer.stop()


async def test_retention_that_passed_the_commit_is_told_and_survived(bench: FaultBench) -> None:
    sender = await bench.start_ready()
    await bench.publish(addresses(60))
    await bench.settled()
    assert await sender.end(grace_s=40) == 0
    await bench.publish_to(0, map(bench.record, addresses(40, "gone")))
    gone = [mail_id for mail_id, who in bench.published.items() if who.startswith("gone")]
    place, end = aiokafka.TopicPartition(bench.topic, 0), (await bench.ends())[0]
    async with bench.admin() as admin:
        await admin.delete_records({place: RecordsToDelete(before_offset=end)})
    for mail_id in gone:
        del bench.published[mail_id]
    await bench.publish(addresses(60, "later"))
    await bench.start_ready()
    counted = f'mailtopic_records_gone_total{{topic="{bench.topic}"}} {len(gone)}.0'
    assert counted in await bench.probe("metrics")
    verdict = await bench.settled()
    assert bench.log().count("records.gone") == 1
    assert not verdict.lost
    assert not verdict.second_copies
    assert "Traceback" not in bench.log()


@pytest.mark.parametrize("runs", [True, False], ids=["runs", "ended"])
async def test_a_log_that_ends_before_the_commit_is_read_again_and_nothing_is_sent_twice(
    bench: FaultBench,
    runs: bool,  # noqa: FBT001 - a case
) -> None:
    """As after a broker's power failure, which takes the end of a log and leaves the commit."""
    sender = await bench.start_ready()
    await bench.publish(addresses(60))
    await bench.settled()
    ends = await bench.ends()
    await until(lambda: bench.has_committed(ends), "all is committed")
    assert await sender.end(grace_s=40) == 0
    position = max((await bench.ends(f"{bench.topic}.status")).values())
    await commit_everywhere(bench, 1_000, f"v1||{position}")
    if runs:
        await bench.start_ready()
        await bench.publish(addresses(60, "later"))
    else:
        await bench.publish(addresses(60, "later"))
        await bench.start_ready()
    verdict = await bench.settled()
    assert not verdict.second_copies
    assert not verdict.lost
    assert not verdict.decided_twice
    assert bench.log().count("log.cut_off") == PARTITIONS
    assert "Traceback" not in bench.log()
