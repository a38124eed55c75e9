"""Where our parser is put into aiokafka: look here before its pinned version is moved."""

import asyncio
import inspect
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiokafka
import pytest
from aiokafka import errors
from aiokafka.consumer import fetcher as fetching
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.protocol.fetch import FetchResponse_v11
from backports import zstd

from mailtopic_client.adapters.kafka_consumer import (
    MAX_FETCHED_BYTES,
    SafeConsumer,
    _SafeFetcher,
    _with,
)
from mailtopic_client.adapters.kafka_partition import MAX_POLL_BYTES, FetchedRecord
from support.conditions import until
from support.raw_batches import ZSTD, batch, record


class Broker:
    """In the place of aiokafka's client: answers fetches out of what it holds."""

    _metadata_max_age_ms = 1_000

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.cluster = SimpleNamespace(
            leader_for_partition=lambda _: 1, broker_metadata=lambda _: None
        )
        self.logs: dict[int, bytes] = {}
        self.errors: dict[int, type[errors.KafkaError]] = {}
        self.asked: list[int] = []

    def force_metadata_update(self) -> asyncio.Future[bool]:
        return asyncio.get_running_loop().create_future()

    async def send(self, node_id: int, request: Any) -> Any:
        del node_id
        await asyncio.sleep(0.01)
        parts: list[tuple[Any, ...]] = []
        for _, partitions in request.topics:
            for number, offset, _ in partitions:
                self.asked.append(number)
                code = self.errors[number].errno if number in self.errors else 0
                data = b"" if offset or code else self.logs.get(number, b"")
                parts.append((number, code, 1_000, 1_000, 0, [], -1, data))
        return FetchResponse_v11(0, 0, 0, [("mails", parts)])


class Consumed:
    """A fetcher of ours between a broker and getmany."""

    def __init__(self, *partitions: int) -> None:
        self.broker = Broker()
        state = SubscriptionState()
        self.places = [aiokafka.TopicPartition("mails", number) for number in partitions]
        state.assign_from_user(self.places)
        for place in self.places:
            state.subscription.assignment.state_value(place).reset_to(0)
        self.fetcher = _SafeFetcher(self.broker, state, isolation_level="read_committed")

    async def poll(self, max_records: int | None = None) -> list[FetchedRecord]:
        found = await self.fetcher.fetched_records((), timeout=0.2, max_records=max_records)
        return [each for each_batch in found.values() for each in each_batch]

    async def read(self, count: int) -> list[FetchedRecord]:
        found: list[FetchedRecord] = []
        async with asyncio.timeout(20):
            while len(found) < count:
                found += await self.poll()
        return found


def test_aiokafka_is_the_version_whose_inside_is_known() -> None:
    assert version("aiokafka") == "0.14.0"


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (aiokafka.AIOKafkaConsumer.start, ["Fetcher"]),
        (
            fetching.Fetcher._proc_fetch_request,  # noqa: SLF001
            ["MemoryRecords", "PartitionRecords", "FetchResult"],
        ),
        (fetching.Fetcher.fetched_records, ["FetchResult"]),
    ],
)
def test_each_name_of_the_seam_is_looked_up_there(function: Any, names: Sequence[str]) -> None:
    for name in names:
        assert f"{name}(" in inspect.getsource(function) or f"is {name}" in inspect.getsource(
            function
        )
    with pytest.raises(ImportError, match="has no"):
        _with(function, NoSuchName=int)


def test_nobody_elses_consumer_is_touched() -> None:
    assert fetching.Fetcher.fetched_records is not _SafeFetcher.fetched_records
    assert fetching.PartitionRecords.__module__ == "aiokafka.consumer.fetcher"
    assert issubclass(SafeConsumer, aiokafka.AIOKafkaConsumer)


def test_no_service_reads_by_a_consumer_that_a_record_can_break() -> None:
    sources = list((Path(__file__).parents[3]).glob("*/*/src/**/*.py"))
    assert any("SafeConsumer(" in source.read_text() for source in sources)
    assert [str(source) for source in sources if "AIOKafkaConsumer(" in source.read_text()] == []


async def test_a_bad_batch_costs_no_poll_and_no_other_partition() -> None:
    consumed = Consumed(0, 1)
    consumed.broker.logs[0] = batch(record(), crc=1) + batch(record(), base_offset=1)
    consumed.broker.logs[1] = batch(record(headers=[(b"\xff", b"")]), record(1))
    found = await consumed.read(4)
    assert sorted((each.partition, each.offset, each.fault is None) for each in found) == [
        (0, 0, False),
        (0, 1, True),
        (1, 0, False),
        (1, 1, True),
    ]
    await consumed.fetcher.close()


async def test_an_error_for_one_partition_is_no_error_of_the_poll_and_asked_again_slowly() -> None:
    consumed = Consumed(0, 1)
    consumed.broker.errors[0] = errors.TopicAuthorizationFailedError
    consumed.broker.logs[1] = batch(record())
    await consumed.read(1)
    known = {consumed.places[0]: "TopicAuthorizationFailedError"}
    assert consumed.fetcher.errors.names == known
    assert consumed.fetcher.errors.lasting(60) == {}
    assert consumed.fetcher.errors.lasting(0) == known
    asked = consumed.broker.asked.count(0)
    for _ in range(3):
        await consumed.poll()
    assert consumed.broker.asked.count(0) <= asked + 1
    del consumed.broker.errors[0]
    consumed.broker.logs[0] = batch(record())
    assert [each.partition for each in await consumed.read(1)] == [0]
    assert consumed.fetcher.errors.names == {}
    await consumed.fetcher.close()


async def test_one_poll_hands_out_no_more_bytes_than_stated_and_loses_none() -> None:
    consumed = Consumed(0, 1)
    for number in (0, 1):
        body = b"".join(record(delta, value=bytes(MAX_POLL_BYTES // 4)) for delta in range(20))
        consumed.broker.logs[number] = batch(body=zstd.compress(body), count=20, attributes=ZSTD)
    found: list[FetchedRecord] = []
    async with asyncio.timeout(20):
        while len(found) < 40:
            some = await consumed.poll(max_records=500)
            assert sum(each.size for each in some) <= MAX_POLL_BYTES * 5 // 4 + 1_000
            found += some
    assert sorted((each.partition, each.offset) for each in found) == [
        (number, offset) for number in (0, 1) for offset in range(20)
    ]
    await consumed.fetcher.close()


async def test_nothing_is_asked_for_while_enough_lies_unread() -> None:
    consumed = Consumed(*range(8))
    for number in range(8):
        consumed.broker.logs[number] = batch(record(value=bytes(MAX_FETCHED_BYTES)))
    await until(lambda: len(consumed.broker.asked) >= 8, "the first fetch")
    await consumed.read(8)
    await consumed.fetcher.close()
