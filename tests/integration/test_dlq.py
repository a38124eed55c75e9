"""`mailtopic dlq` as its users run it, between real Kafka, real senders and a real relay."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import aiokafka
import pytest

from mailtopic_cli.adapters.kafka import KafkaReplayWriter
from mailtopic_cli.dlq.ports import NewRecord
from mailtopic_cli.kafka_node import KafkaNode
from mailtopic_client import KafkaClient, KafkaSettings
from mailtopic_contract import (
    ErrorInfo,
    KeyRing,
    MailHeaders,
    MailRecord,
    Outcome,
    RecordOrigin,
    StatusEvent,
    TopicNames,
    new_record,
)
from mailtopic_sender.adapters.kafka_topics import KafkaTopics
from support.conditions import until
from support.kafka_records import read_everything, topics_of
from support.ports import free_port
from support.senders import PARTITIONS, Bench

MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command left behind."""

    code: int
    out: str
    err: str


@pytest.fixture
async def bench(kafka: KafkaNode, topic: str, tmp_path: Path) -> AsyncIterator[Bench]:
    async with Bench(tmp_path, kafka.bootstrap_servers, topic) as bench:
        yield bench


async def start(bench: Bench, *arguments: str) -> asyncio.subprocess.Process:
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(bench.directory),
        "MAILTOPIC_KAFKA__BOOTSTRAP_SERVERS": bench.servers,
        "MAILTOPIC_TOPIC": bench.topic,
        # The senders' environment may be given as it is.
        "MAILTOPIC_DELIVERY__RETRY_TIERS": "2s,4s",
    }
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mailtopic_cli", "dlq", *arguments),
        env=env,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def dlq(bench: Bench, *arguments: str) -> Answer:
    process = await start(bench, *arguments)
    out, err = await process.communicate()
    assert process.returncode is not None
    return Answer(process.returncode, out.decode(), err.decode())


async def listed(bench: Bench, *arguments: str) -> dict[str, Any]:
    answer = await dlq(bench, "list", "--json", *arguments)
    document: dict[str, Any] = json.loads(answer.out)
    assert answer.code == 0, answer.err
    return document


async def with_topics(bench: Bench) -> None:
    """Make the topics as a sender does."""
    settings = KafkaSettings(bootstrap_servers=(bench.servers,))
    names = TopicNames(bench.topic)
    await KafkaTopics(settings.client_kwargs(), names, partitions=PARTITIONS).ensure()


def mail_to(email: str, *, ttl_ms: int = 10 * MINUTE_MS, accepted_ago_ms: int = 0) -> MailRecord:
    accepted_at_ms = time.time_ns() // 1_000_000 - accepted_ago_ms
    return new_record(
        email=email,
        variables={"code": "271828"},
        purpose="signup",
        locale="en",
        accepted_at_ms=accepted_at_ms,
        expires_at_ms=accepted_at_ms + ttl_ms,
        keyring=None,
    )


async def bury(bench: Bench, mail: MailRecord, *, error_class: str = "bug") -> None:
    """Put a mail into the DLQ and its death into N.status, as a sender does."""
    headers = MailHeaders(
        mail_id=mail.id,
        origin=RecordOrigin(bench.topic, 1, 7, mail.accepted_at),
        error=ErrorInfo(error_class, "Reply", "refused", "550 5.7.1"),
    )
    await bench.broker.publish(
        f"{bench.topic}.dlq",
        key=mail.address.partition_key,
        value=mail.encode(),
        headers=[("x-team", b"\xff"), *headers.encode()],
        partition=1,
    )
    event = StatusEvent(
        id=mail.id,
        outcome=Outcome.DEAD,
        at=mail.accepted_at + 1,
        attempt=1,
        purpose=mail.purpose,
    )
    await record_event(bench, event)


async def record_event(bench: Bench, event: StatusEvent) -> None:
    await bench.broker.publish(
        f"{bench.topic}.status", key=event.key, value=event.encode(), partition=1
    )


async def outcomes(bench: Bench, mail_id: UUID) -> list[tuple[Outcome, int]]:
    return [(e.outcome, e.attempt) for e in await bench.events() if e.id == mail_id]


async def test_poison_is_listed_and_shown_without_code_or_address(bench: Bench) -> None:
    await bench.start_ready()
    poison = [
        b'{"email":"secret.person@example.com","code":"314159"',
        b'{"v":9,"email":"secret.person@example.com","variables":{"code":"314159"}}',
        b"\xff\xfesecret.person%40example.com 314159",
    ]
    for value in poison:
        headers = [("x-mail", b"secret.person@example.com 314159")]
        await bench.broker.publish(bench.topic, key=b"k", value=value, headers=headers, partition=2)

    async def all_are_dead() -> bool:
        return bool((await listed(bench))["total"] == len(poison))

    await until(all_are_dead, "the poison is in the DLQ", timeout_s=60)
    document = await listed(bench)
    assert document["by_class"] == {"poison": 3}
    assert [row["origin"] for row in document["records"]] == [
        f"{bench.topic}/2/{n}" for n in (0, 1, 2)
    ]
    table = await dlq(bench, "list", "--class", "poison")
    said = [json.dumps(document), table.out, table.err]
    for row in document["records"]:
        by_place = await dlq(bench, "show", row["place"])
        by_id = await dlq(bench, "show", row["id"])
        assert (by_place.code, by_id.code) == (0, 0)
        assert by_place.out == by_id.out
        said.append(by_place.out)
    assert '{"email":"xxxxxx.xxxxxx@xxxxxxx.xxx","code":"######"' in said[3]
    assert "unknown-version" in said[4]
    everything = "".join(said)
    for secret in ("314159", "secret", "person", "example"):
        assert secret not in everything
    # What nobody can read would only die again.
    replay = await dlq(bench, "replay", "--yes")
    assert replay.code == 0
    assert "Replayed 0 mails" in replay.out
    assert "3 no mail" in replay.out


async def test_a_mail_is_sent_once_after_its_cause_is_gone(bench: Bench) -> None:
    right_keys = bench.directory / "keys.json"
    (bench.directory / "other.json").write_text(KeyRing.generate("k2").dump())
    bench.settings["MAILTOPIC_SEALING__KEYS_FILE"] = str(bench.directory / "other.json")
    await bench.start_ready()
    mail_id = await bench.mails.send_code("161803", "late@example.com")

    async def is_dead() -> bool:
        return bool(await outcomes(bench, mail_id))

    await until(is_dead, "the mail is dead")
    await bench.senders["sender"].kill()
    bench.settings["MAILTOPIC_SEALING__KEYS_FILE"] = str(right_keys)
    (row,) = (await listed(bench))["records"]
    assert (row["error_type"], row["to"], row["expired"]) == (
        "SealingError",
        "l***@example.com",
        False,
    )

    first = await dlq(bench, "replay", "--yes")
    second = await dlq(bench, "replay", "--yes")
    assert (first.code, second.code) == (0, 0)
    assert "Replayed 1 mails" in first.out
    assert "Replayed 0 mails" in second.out
    assert "1 replayed before" in second.out
    await bench.start_ready()
    await bench.delivered(["late@example.com"])
    third = await dlq(bench, "replay", "--yes")
    assert "Replayed 0 mails" in third.out
    marker = await bench.mails.send_code("1", "marker@example.com")

    async def marker_is_through() -> bool:
        return bool(await outcomes(bench, marker)) and len(await outcomes(bench, mail_id)) > 2

    await until(marker_is_through, "everything is recorded")
    assert bench.deliveries() == {"late@example.com": 1, "marker@example.com": 1}
    assert await outcomes(bench, mail_id) == [
        (Outcome.DEAD, 1),
        (Outcome.DEFERRED, 1),
        (Outcome.ACCEPTED, 2),
    ]
    stored = await read_everything(bench.servers, bench.topic, bench.topic)
    original, replayed = [
        record for record in stored if record.header["mt-id"] == str(mail_id).encode()
    ]
    assert (replayed.partition, replayed.key, replayed.value) == (
        original.partition,
        original.key,
        original.value,
    )
    assert "mt-error-class" not in replayed.header
    assert replayed.header["mt-origin-offset"] == str(original.offset).encode()


async def test_a_mail_of_the_original_payload_keeps_its_id(bench: Bench) -> None:
    await with_topics(bench)
    value = json.dumps({"email": "old@example.com", "code": "123456"}).encode()
    # A header that no sender can read: dead, although the mail is good.
    await bench.broker.publish(bench.topic, key=None, value=value, headers=[("mt-attempt", b"x")])
    await bench.start_ready()

    async def is_dead() -> bool:
        return bool((await listed(bench))["total"])

    await until(is_dead, "the mail is dead")
    (row,) = (await listed(bench))["records"]
    answer = await dlq(bench, "replay", "--id", row["id"], "--yes")
    assert "Replayed 1 mails" in answer.out, answer
    await bench.delivered(["old@example.com"])

    async def is_accepted() -> bool:
        return (Outcome.ACCEPTED, 2) in await outcomes(bench, UUID(row["id"]))

    await until(is_accepted, "the outcome is recorded under the same id")


async def test_a_replay_leaves_out_what_nobody_needs_any_more(bench: Bench) -> None:
    await with_topics(bench)
    expired = mail_to("expired@example.com", ttl_ms=1, accepted_ago_ms=1000)
    older = mail_to("twice@example.com", accepted_ago_ms=30_000)
    settled = mail_to("settled@example.com")
    for mail in (expired, older, settled):
        await bury(bench, mail)
    await bench.mails.publish(mail_to("twice@example.com"))
    await record_event(
        bench,
        StatusEvent(
            id=settled.id,
            outcome=Outcome.ACCEPTED,
            at=settled.accepted_at,
            attempt=1,
            purpose="signup",
        ),
    )
    before = await read_everything(bench.servers, bench.topic)
    answer = await dlq(bench, "replay", "--yes")
    assert answer.code == 0
    for reason in ("1 expired", "1 superseded by a newer mail", "1 delivered or otherwise settled"):
        assert reason in answer.out
    assert "Replayed 0 mails" in answer.out
    assert len(await read_everything(bench.servers, bench.topic)) == len(before)


async def test_a_dry_run_and_a_replay_without_yes_change_nothing(bench: Bench) -> None:
    await with_topics(bench)
    await bury(bench, mail_to("a@example.com"))
    before = await topics_and_records(bench)
    dry = await dlq(bench, "replay", "--dry-run")
    refused = await dlq(bench, "replay")
    assert dry.code == 0
    assert "Would replay 1 mails (1 bug)" in dry.out
    assert refused.code == 2
    assert len(refused.err.splitlines()) == 1
    assert await topics_and_records(bench) == before


async def topics_and_records(bench: Bench) -> tuple[dict[str, int], int]:
    records = await read_everything(bench.servers, bench.topic)
    return await topics_of(bench.servers, bench.topic), len(records)


async def test_filters_choose_by_class_id_and_time(bench: Bench) -> None:
    await with_topics(bench)
    bug, protocol = mail_to("bug@example.com"), mail_to("protocol@example.com")
    await bury(bench, bug)
    await bury(bench, protocol, error_class="protocol")

    async def ids(*arguments: str) -> set[str]:
        return {row["id"] for row in (await listed(bench, *arguments))["records"]}

    assert await ids() == {str(bug.id), str(protocol.id)}
    assert await ids("--class", "PROTOCOL") == {str(protocol.id)}
    assert await ids("--id", str(bug.id)) == {str(bug.id)}
    assert await ids("--since", "5m") == {str(bug.id), str(protocol.id)}
    assert await ids("--until", "5m") == set()
    assert len((await listed(bench, "--limit", "1"))["records"]) == 1
    answer = await dlq(bench, "replay", "--class", "protocol", "--yes")
    assert "Replayed 1 mails" in answer.out
    (record,) = await read_everything(bench.servers, bench.topic, bench.topic)
    assert record.header["mt-id"] == str(protocol.id).encode()
    assert record.header["mt-attempt"] == b"2"
    assert record.header["x-team"] == b"\xff"


async def test_an_interrupted_replay_goes_on_where_it_stopped(bench: Bench) -> None:
    await with_topics(bench)
    mails = [mail_to(f"user{number}@example.com") for number in range(40)]
    for mail in mails:
        await bury(bench, mail)
    for number, ending in enumerate((signal.SIGINT, signal.SIGKILL)):
        process = await start(bench, "replay", "--yes", "--rate", "5/s")

        async def some_are_back(least: int = 3 * (number + 1)) -> bool:
            return len(await read_everything(bench.servers, bench.topic, bench.topic)) >= least

        await until(some_are_back, "some mails are back", timeout_s=60)
        process.send_signal(ending)
        out, _ = await process.communicate()
        if ending == signal.SIGINT:
            assert process.returncode == 130
            assert b"continues from here" in out
    answer = await dlq(bench, "replay", "--yes")
    assert answer.code == 0, answer.err
    committed = [record async for record in committed_records(bench)]
    assert sorted(committed) == sorted(str(mail.id).encode() for mail in mails)


async def committed_records(bench: Bench) -> AsyncIterator[bytes]:
    """The ids on the main topic as senders see them: what was not committed is not there."""
    consumer = aiokafka.AIOKafkaConsumer(
        bootstrap_servers=bench.servers,
        enable_auto_commit=False,
        isolation_level="read_committed",
    )
    await consumer.start()
    try:
        place = aiokafka.TopicPartition(bench.topic, 1)
        consumer.assign([place])
        await consumer.seek_to_beginning(place)
        end = (await consumer.end_offsets([place]))[place]
        while await consumer.position(place) < end:
            for record in (await consumer.getmany(timeout_ms=200)).get(place, ()):
                yield dict(record.headers)["mt-id"]
    finally:
        await consumer.stop()


async def test_of_two_replays_the_later_one_takes_over(bench: Bench) -> None:
    await with_topics(bench)
    for number in range(30):
        await bury(bench, mail_to(f"user{number}@example.com"))
    slow = await start(bench, "replay", "--yes", "--rate", "2/s")

    async def has_begun() -> bool:
        return bool(await read_everything(bench.servers, bench.topic, bench.topic))

    await until(has_begun, "the slow replay has begun", timeout_s=60)
    quick = await dlq(bench, "replay", "--yes")
    assert quick.code == 0, quick.err
    _, err = await slow.communicate()
    assert slow.returncode == 1
    assert err.decode().splitlines()[-1].endswith("this one stopped, the other one goes on")
    ids = [record async for record in committed_records(bench)]
    assert len(ids) == len(set(ids)) == 30


async def test_an_aborted_transaction_of_another_client_is_not_seen(
    bench: Bench, kafka: KafkaNode
) -> None:
    await with_topics(bench)
    mail = mail_to("a@example.com")
    await bury(bench, mail)
    settings = KafkaSettings(bootstrap_servers=(kafka.bootstrap_servers,))
    producer = aiokafka.AIOKafkaProducer(**settings.client_kwargs(), transactional_id=bench.topic)
    await producer.start()
    await producer.begin_transaction()
    settled = StatusEvent(
        id=mail.id, outcome=Outcome.ACCEPTED, at=mail.accepted_at, attempt=1, purpose="signup"
    )
    await producer.send_and_wait(
        f"{bench.topic}.status", key=settled.key, value=settled.encode(), partition=1
    )
    await producer.abort_transaction()
    await producer.stop()
    assert "Replayed 1 mails" in (await dlq(bench, "replay", "--yes")).out


async def test_all_records_of_a_batch_are_stored_or_none(bench: Bench, kafka: KafkaNode) -> None:
    await with_topics(bench)
    settings = KafkaSettings(bootstrap_servers=(kafka.bootstrap_servers,))
    first, second = (
        KafkaReplayWriter(settings.client_kwargs(), bench.topic, timeout_s=30) for _ in range(2)
    )
    await first.open()
    await second.open()
    record = NewRecord(bench.topic, 1, b"k", b"v", (("mt-id", b"1"),))
    try:
        await second.store([record, record])
        with pytest.raises(Exception, match="another replay"):
            await first.store([record])
    finally:
        await first.close()
        await second.close()
    assert [record async for record in committed_records(bench)] == [b"1", b"1"]


async def test_a_broker_that_is_away_is_one_line(bench: Bench) -> None:
    servers = f"127.0.0.1:{free_port()}"
    for command in (("list",), ("show", "1/1"), ("replay", "--yes")):
        answer = await dlq(bench, *command, "--bootstrap-servers", servers, "--timeout", "1")
        assert answer.code == 1
        assert answer.out == ""
        assert answer.err.splitlines()[-1] == (
            f"mailtopic dlq {command[0]}: no broker answers, {servers}: waited 1 s"
        )
        assert "Traceback" not in answer.err


async def test_a_topic_that_is_missing_is_one_line_and_stays_missing(bench: Bench) -> None:
    answer = await dlq(bench, "list", "--topic", f"{bench.topic}-typo")
    assert answer.code == 1
    assert f"the topic {bench.topic}-typo.dlq does not exist" in answer.err
    client = KafkaClient(KafkaSettings(bootstrap_servers=(bench.servers,)))
    await client.close()
    assert await topics_of(bench.servers, f"{bench.topic}-typo") == {}
