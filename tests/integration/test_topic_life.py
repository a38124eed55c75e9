"""What happens to a topic while senders run: it grows, goes, comes again, is forbidden."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import aiokafka
import pytest
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from confluent_kafka.admin import ResourceType

from mailtopic_cli.kafka_node import KafkaNode
from mailtopic_contract import TopicNames
from support.conditions import until
from support.kafka_listeners import ListenersNode, Topics
from support.kafka_records import read_everything
from support.senders import Bench

FEW = 3
MANY = 6
STARTS_WITHIN_S = 10
_SIZE_AT = 8
"""Where a stored batch has its size, four octets (the message format, version 2)."""


@pytest.fixture
async def bench(kafka: KafkaNode, topic: str, tmp_path: Path) -> AsyncIterator[Bench]:
    await Topics(kafka.bootstrap_servers).create(*TopicNames(topic).all, partitions=FEW)
    async with Bench(tmp_path, kafka.bootstrap_servers, topic) as bench:
        yield bench


async def publish(bench: Bench, address: str, partition: int) -> None:
    value = json.dumps({"email": address, "code": "1234"}).encode()
    await bench.broker.publish(bench.topic, key=None, value=value, partition=partition)


def lines(bench: Bench, event: str) -> list[dict[str, str]]:
    found = [json.loads(line) for line in bench.log().splitlines() if line.startswith("{")]
    return [line for line in found if line["event"] == event]


async def test_partitions_that_are_added_cost_no_mail_and_no_second_copy(bench: Bench) -> None:
    for name in ("a", "b"):
        await bench.start_ready(name)
    topics, partitions = Topics(bench.servers), FEW
    sent: list[str] = []
    stop = asyncio.Event()

    async def stream() -> None:
        while not stop.is_set():
            address = f"user{len(sent)}@example.com"
            await publish(bench, address, len(sent) % partitions)
            sent.append(address)
            await asyncio.sleep(0.01)

    streaming = asyncio.create_task(stream())
    await until(lambda: len(bench.deliveries()) > 50, "mails arrive")
    await topics.grow(bench.topic, partitions=MANY)
    partitions, grown_s = MANY, time.monotonic()
    newest = [f"new{number}@example.com" for number in range(FEW, MANY)]
    for number, address in enumerate(newest, FEW):
        await publish(bench, address, number)
    await bench.delivered(newest, timeout_s=30)
    started_after_s = time.monotonic() - grown_s
    await until(lambda: len(sent) > 600, "the stream goes on", timeout_s=60)
    stop.set()
    await streaming
    await bench.delivered(sent)
    assert set(bench.deliveries().values()) == {1}
    assert started_after_s < STARTS_WITHIN_S
    counts = await topics.counts()
    assert {counts[name] for name in TopicNames(bench.topic).all} == {MANY}
    grown = [name for line in lines(bench, "topics.grown") for name in line["topics"].split(",")]
    assert sorted(grown) == sorted(TopicNames(bench.topic).all[1:])
    assert "Traceback" not in bench.log()


@pytest.mark.parametrize("speed", ["at once", "after a while"])
async def test_a_topic_that_was_made_again_is_read_from_its_start(bench: Bench, speed: str) -> None:
    await bench.start_ready()
    old = [f"old{number}@example.com" for number in range(9)]
    for number, address in enumerate(old):
        await publish(bench, address, number % FEW)
    await bench.delivered(old)
    topics = Topics(bench.servers)
    await topics.delete(bench.topic)
    if speed != "at once":
        await until(lambda: _says(bench, f"{bench.topic} does not exist"), "readiness says so")
    await until(lambda: _created(topics, bench.topic), "the topic is there again")
    new = [f"new{number}@example.com" for number in range(60)]
    for number, address in enumerate(new):
        await publish(bench, address, number % FEW)
    await bench.delivered(new, timeout_s=30)
    await until(bench.is_ready, "the sender is ready")
    assert set(bench.deliveries().values()) == {1}
    assert "Traceback" not in bench.log()


async def _created(topics: Topics, name: str) -> bool:
    """Whether it could be created now: a topic is deleted in the background."""
    try:
        await topics.create(name, partitions=FEW)
    except AssertionError:
        return False
    return True


async def _says(bench: Bench, words: str, name: str = "sender") -> bool:
    return words in await bench.probe("readyz", name)


async def test_satellites_that_were_deleted_are_named_and_waited_for(bench: Bench) -> None:
    await bench.start_ready()
    await publish(bench, "before@example.com", 0)
    await bench.delivered(["before@example.com"])
    names, topics = TopicNames(bench.topic), Topics(bench.servers)
    await topics.delete(names.status, names.dlq)
    for name in (names.dlq, names.status):
        await until(lambda name=name: _named(bench, name), "a line names it")  # type: ignore[misc]
    assert await _says(bench, "does not exist")
    await publish(bench, "meanwhile@example.com", 1)
    await until(lambda: _created(topics, names.status), "N.status is there again")
    await until(lambda: _created(topics, names.dlq), "the DLQ is there again")
    await until(bench.is_ready, "the sender is ready")
    await publish(bench, "after@example.com", 0)
    await bench.delivered(["meanwhile@example.com", "after@example.com"])
    await until(lambda: _events(bench, 2), "their outcomes are recorded")
    assert set(bench.deliveries().values()) == {1}


def _named(bench: Bench, name: str) -> bool:
    return [line["topic"] for line in lines(bench, "topic.unavailable")].count(name) == 1


async def _events(bench: Bench, count: int) -> bool:
    found = await read_everything(bench.servers, bench.topic, TopicNames(bench.topic).status)
    return len(found) == count


async def test_a_group_that_others_use_in_another_way_is_named(bench: Bench) -> None:
    other = aiokafka.AIOKafkaConsumer(
        bench.topic,
        bootstrap_servers=bench.servers,
        group_id=bench.topic,
        partition_assignment_strategy=(RangePartitionAssignor,),
    )
    await other.start()
    try:
        bench.start()
        words = f"the group {bench.topic} is used by other consumers"
        await until(lambda: _says(bench, words), "readiness says so")
        await asyncio.sleep(3)
        assert len(lines(bench, "consumer.unavailable")) == 1
        assert await bench.probe("livez") == "ok\n"
    finally:
        await other.stop()
    await until(bench.is_ready, "it goes on by itself", timeout_s=60)
    await publish(bench, "a@example.com", 0)
    await bench.delivered(["a@example.com"])


@pytest.fixture
async def secured(tmp_path: Path, topic: str) -> AsyncIterator[tuple[ListenersNode, Bench]]:
    node = ListenersNode(tmp_path / "kafka")
    await node.start()
    try:
        await Topics(node.bootstrap_servers).create(*TopicNames(topic).all, partitions=FEW)
        await node.allow(topic)
        (tmp_path / "bench").mkdir()
        async with Bench(tmp_path / "bench", node.bootstrap_servers, topic) as bench:
            bench.settings = node.login
            yield node, bench
    finally:
        await node.stop()


async def test_satellites_that_may_not_grow_hold_up_only_the_new_partitions(
    secured: tuple[ListenersNode, Bench],
) -> None:
    node, bench = secured
    topics = Topics(node.bootstrap_servers)
    await bench.start_ready()
    await topics.grow(bench.topic, partitions=MANY)
    await publish(bench, "new@example.com", MANY - 1)
    names = TopicNames(bench.topic)
    words = f"the topic {names.all[1]} has {FEW} partitions and {bench.topic} has {MANY}"
    await until(lambda: _says(bench, words), "readiness says so")
    await until(lambda: lines(bench, "partitions.waiting"), "a line says so")
    old = [f"old{number}@example.com" for number in range(30)]
    for number, address in enumerate(old):
        await publish(bench, address, number % FEW)
    await bench.delivered(old)
    # One that starts now delivers the old partitions' mails as well.
    assert await bench.senders["sender"].end(grace_s=40) == 0
    bench.start("second")
    await publish(bench, "later@example.com", 0)
    await bench.delivered(["later@example.com"])
    assert "new@example.com" not in bench.deliveries()
    await topics.grow(*names.all[1:], partitions=MANY)
    await bench.delivered(["new@example.com"])
    await until(lambda: bench.is_ready("second"), "the sender is ready")
    assert set(bench.deliveries().values()) == {1}


@pytest.mark.parametrize("kind", [ResourceType.TOPIC, ResourceType.GROUP])
async def test_what_is_forbidden_while_it_runs_is_named_and_waited_for(
    secured: tuple[ListenersNode, Bench], kind: ResourceType
) -> None:
    node, bench = secured
    await bench.start_ready()
    await node.forbid(kind, bench.topic)
    what = "topic" if kind is ResourceType.TOPIC else "group"
    await until(lambda: _says(bench, f"the {what} {bench.topic}"), "readiness says so")
    await asyncio.sleep(3)
    assert await bench.probe("livez") == "ok\n"
    told = [line for line in lines(bench, f"{what}.unavailable") if line[what] == bench.topic]
    assert len(told) == 1
    await node.allow(bench.topic)
    await until(bench.is_ready, "it goes on by itself", timeout_s=60)
    await publish(bench, "a@example.com", 0)
    await bench.delivered(["a@example.com"])


async def test_a_dlq_that_may_not_be_written_holds_up_no_mail(
    secured: tuple[ListenersNode, Bench],
) -> None:
    node, bench = secured
    dlq = TopicNames(bench.topic).dlq
    await bench.start_ready()
    await node.deny_writing(dlq)
    values = [b"poison %d" % number for number in range(200)]
    good = [f"good{number}@example.com" for number in range(50)]
    for number, value in enumerate(values):
        await bench.broker.publish(bench.topic, key=b"k", value=value, partition=number % FEW)
    for number, address in enumerate(good):
        await publish(bench, address, number % FEW)
    await bench.delivered(good)
    await until(lambda: _says(bench, f"the topic {dlq} takes no records"), "readiness says so")
    assert await bench.probe("livez") == "ok\n"
    assert len(lines(bench, "dlq.unavailable")) == 1
    await node.allow_writing(dlq)
    await until(bench.is_ready, "it goes on by itself", timeout_s=60)
    await until(lambda: _events(bench, 250), "all have an outcome", timeout_s=60)
    letters = [record.value for record in await read_everything(bench.servers, bench.topic, dlq)]
    assert sorted(letters) == sorted(values)
    assert set(bench.deliveries().values()) == {1}
    assert "Traceback" not in bench.log()


async def test_a_partition_that_the_broker_cannot_read_is_named_and_the_others_go_on(
    own_kafka: KafkaNode, topic: str, tmp_path: Path
) -> None:
    async with Bench(tmp_path, own_kafka.bootstrap_servers, topic) as bench:
        await Topics(bench.servers).create(*TopicNames(topic).all, partitions=FEW)
        await publish(bench, "here@example.com", 0)
        segment = tmp_path / "kafka" / "records" / f"{topic}-0" / f"{0:020}.log"
        with _no_size(segment):
            bench.start()
            await publish(bench, "there@example.com", 1)
            await bench.delivered(["there@example.com"])
            await until(
                lambda: _says(bench, f"partition 0 of {topic} can't be read"), "readiness says so"
            )
            assert "here@example.com" not in bench.deliveries()
        await bench.delivered(["here@example.com"])
        await until(bench.is_ready, "the sender is ready")
        assert len(lines(bench, "partition.unreadable")) == 1
        assert "Traceback" not in bench.log()


@contextmanager
def _no_size(segment: Path) -> Iterator[None]:
    """Store a size for the first batch that no batch can have, for a while: no fetch gets past."""
    with segment.open("r+b") as file:
        file.seek(_SIZE_AT)
        size = file.read(4)

        def write(octets: bytes) -> None:
            file.seek(_SIZE_AT)
            file.write(octets)
            file.flush()

        write(bytes(4))
        try:
            yield
        finally:
            write(size)
