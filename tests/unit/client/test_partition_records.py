"""What a broker returned for a partition becomes records, whatever it is."""

import gzip
import tracemalloc
from collections.abc import Callable
from hashlib import sha256

import aiokafka
import lz4.frame
import pytest
from aiokafka.codec import snappy_encode
from backports import zstd

from mailtopic_client.adapters.kafka_partition import FetchedRecord, PartitionRecords, StoredBytes
from support.hostile_batches import hostile
from support.raw_batches import (
    CONTROL,
    GZIP,
    HEAD_BYTES,
    LZ4,
    NOW_MS,
    SNAPPY,
    TRANSACTIONAL,
    ZSTD,
    batch,
    message,
    record,
)

PLACE = aiokafka.TopicPartition("mails", 3)
MIB = 1024 * 1024


def read(
    data: bytes,
    *,
    asked_for: int = 0,
    aborted: list[tuple[int, int]] | None = None,
    highwater: int | None = None,
    max_record_bytes: int = 4 * MIB,
) -> tuple[list[FetchedRecord], int]:
    """The records, and where reading goes on."""
    partition = PartitionRecords(PLACE, StoredBytes(data), aborted, asked_for)
    partition.reading.max_record_bytes = max_record_bytes
    partition.highwater = highwater
    return list(partition), partition.next_fetch_offset


def faults(records: list[FetchedRecord]) -> list[str | None]:
    return [each.fault.reason if each.fault else None for each in records]


def test_a_sound_batch_is_read_byte_for_byte() -> None:
    headers = [(b"a", None), (b"", b""), ("ключ".encode(), b"\xff")]
    sound = batch(
        record(0, key=None, value=None),
        record(1, key=b"k", value=b"\x00v", headers=headers, time_delta=-5),
        base_offset=40,
    )
    assert read(sound, asked_for=40) == (
        [
            FetchedRecord("mails", 3, 40, NOW_MS, None, None),
            FetchedRecord(
                "mails",
                3,
                41,
                NOW_MS - 5,
                b"k",
                b"\x00v",
                (("a", None), ("", b""), ("ключ", b"\xff")),
            ),
        ],
        42,
    )


@pytest.mark.parametrize(
    ("codec", "pack"),
    [
        (GZIP, gzip.compress),
        (SNAPPY, snappy_encode),
        (SNAPPY, lambda data: snappy_encode(data, xerial_compatible=False)),
        (LZ4, lz4.frame.compress),
        (ZSTD, zstd.compress),
        (ZSTD, lambda data: zstd.compress(data[:9]) + zstd.compress(data[9:])),
    ],
)
def test_each_compression_is_read_and_broken_data_costs_its_batch(
    codec: int, pack: Callable[[bytes], bytes]
) -> None:
    packed = bytes(pack(b"".join(record(delta, value=b"v" * 50_000) for delta in range(4))))
    sound = batch(body=packed, count=4, attributes=codec)
    behind = batch(record(), base_offset=4)
    found, end = read(sound + behind)
    assert ([each.offset for each in found], faults(found), end) == ([0, 1, 2, 3, 4], [None] * 5, 5)
    cut = batch(body=packed[: len(packed) // 2], count=4, attributes=codec)
    found, end = read(cut + behind)
    assert (faults(found)[-2:], found[-2].offset, end) == (["bad-batch", None], 3, 5)


def test_a_header_name_that_is_not_utf8_costs_its_record_alone() -> None:
    odd = record(1, key=b"k", value=b"v", headers=[(b"gr\xf6\xdfe", b"1"), (b"b", None)])
    found, end = read(batch(record(0), odd, record(2)))
    assert (faults(found), end) == ([None, "bad-header", None], 3)
    assert (found[1].key, found[1].value) == (b"k", b"v")
    assert found[1].headers == (("gr\\xf6\\xdfe", b"1"), ("b", None))
    assert found[1].fault is not None
    assert found[1].fault.raw_names == (b"gr\xf6\xdfe",)


def test_a_broken_record_is_kept_as_stored_and_costs_no_other() -> None:
    broken = record(1, header_count=7)
    found, end = read(batch(record(0), broken, record(2)))
    assert (faults(found), end) == ([None, "bad-record", None], 3)
    assert found[1].value == broken[1:]
    assert found[1].fault is not None
    assert found[1].fault.digest == sha256(broken[1:]).hexdigest()


@pytest.mark.parametrize(
    "wrong",
    [
        batch(record(0), record(1), crc=1),
        batch(record(0), record(1), magic=9),
        batch(record(0), record(1), attributes=6),
        batch(record(0), record(1), count=-1),
        batch(record(0), count=99, last_delta=1),
        batch(record(0), record(0), last_delta=1),
        batch(record(0), record(2**31), last_delta=1),
        batch(record(0, length=-1), record(1)),
        batch(b"\xff" * 11, record(1)),
    ],
)
def test_a_batch_that_makes_no_sense_is_one_record_with_its_bytes(wrong: bytes) -> None:
    behind = batch(record(), base_offset=2)
    found, end = read(wrong + behind, highwater=3)
    assert (faults(found)[-2:], end) == (["bad-batch", None], 3)
    letter = found[-2]
    assert (letter.offset, letter.value) == (1, wrong)
    assert letter.fault is not None
    assert letter.fault.digest == sha256(wrong).hexdigest()


@pytest.mark.parametrize("claimed", [-1, -(2**31), 2**31 - 1, 1_000])
def test_a_claimed_end_is_not_believed_beyond_what_there_is(claimed: int) -> None:
    for crc in (None, 1):
        wrong = batch(record(), last_delta=claimed, base_offset=7, crc=crc)
        assert read(wrong, asked_for=7, highwater=9)[1] == 8
        behind = batch(record(), base_offset=8)
        assert read(wrong + behind, asked_for=7, highwater=9)[1] == 9


@pytest.mark.parametrize(
    "wrong",
    [
        batch(record(0), record(1), count=99, last_delta=1),
        batch(record(0), record(1), record(2), count=2),
    ],
)
def test_what_is_left_behind_the_last_offset_of_a_batch_costs_no_other_one(wrong: bytes) -> None:
    found, end = read(wrong + batch(record(), base_offset=2))
    assert ([each.offset for each in found], faults(found), end) == ([0, 1, 2], [None] * 3, 3)


def test_where_no_end_can_be_told_each_fetch_steps_one_offset_and_one_letter_is_written() -> None:
    cut = batch(record(0), record(1), record(2), length=2**31 - 1, last_delta=-1)
    partition = PartitionRecords(PLACE, StoredBytes(cut), None, 5)
    assert faults(list(partition)) == ["bad-batch"]
    again = PartitionRecords(PLACE, StoredBytes(cut), None, partition.next_fetch_offset)
    again.reading = partition.reading
    assert (list(again), again.next_fetch_offset) == ([], 7)


def test_a_batch_that_the_broker_cut_off_at_the_end_waits_for_the_next_fetch() -> None:
    whole = batch(record(0)) + batch(record(0), base_offset=1)
    for cut in range(len(whole) // 2, len(whole)):
        found, end = read(whole[:cut])
        assert (faults(found), end) == ([None], 1)


def test_transaction_markers_and_aborted_records_are_left_out() -> None:
    mine = batch(record(), attributes=TRANSACTIONAL, producer_id=4)
    abort = record(key=b"\x00\x00\x00\x00", value=b"\x00" * 6)
    marker = batch(abort, attributes=TRANSACTIONAL | CONTROL, producer_id=4, base_offset=1)
    later = batch(record(), attributes=TRANSACTIONAL, producer_id=4, base_offset=2)
    found, end = read(mine + marker + later, aborted=[(4, 0)])
    assert ([each.offset for each in found], end) == ([2], 3)
    rubbish = batch(record(key=b"", value=None), attributes=CONTROL, base_offset=0)
    assert read(rubbish) == ([], 1)


def test_compaction_leaves_gaps_and_empty_batches() -> None:
    empty = batch(count=0, last_delta=4)
    gaps = batch(record(2), record(6), base_offset=5, last_delta=9)
    found, end = read(empty + gaps)
    assert ([each.offset for each in found], end) == ([7, 11], 15)
    found, end = read(gaps, asked_for=8)
    assert ([each.offset for each in found], end) == ([11], 15)


def test_messages_of_before_kafka_0_11_are_read() -> None:
    packed = gzip.compress(message(0, key=b"a") + message(1, key=b"b"))
    old = message(3, magic=0) + message(4) + message(9, value=packed, attributes=GZIP)
    found, end = read(old, asked_for=3)
    assert ([each.offset for each in found], end) == ([3, 4, 8, 9], 10)
    found, end = read(message(3, crc=1) + message(4), asked_for=3)
    assert (faults(found), end) == (["bad-batch", None], 5)


def test_a_record_that_is_too_large_leaves_key_size_and_digest() -> None:
    value = bytes(5 * MIB)
    body = record(0, key=b"k") + record(1, key=b"big", value=value) + record(2)
    packed = batch(body=zstd.compress(body), count=3, attributes=ZSTD)
    found, end = read(packed)
    assert (faults(found), end) == ([None, "too-large", None], 3)
    assert (found[1].key, found[1].value, found[1].offset) == (b"big", None, 1)
    assert found[1].fault is not None
    assert found[1].fault.stored_bytes == len(value)
    assert found[1].fault.digest == sha256(value).hexdigest()


@pytest.mark.parametrize("name", ["zstd, 400 MB of zeros", "zstd, a window of 128 MB"])
def test_a_bomb_costs_its_batch_and_little_memory(name: str) -> None:
    bomb = hostile()[name]
    tracemalloc.start()
    try:
        found, end = read(bomb)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (faults(found), found[0].value, end) == (["bad-batch"], bomb, 1)
    assert peak < 2 * MIB


def test_nothing_of_a_fault_or_a_record_is_shown() -> None:
    (found,), _ = read(
        batch(record(key=b"secret-key", value=b"secret", headers=[(b"s\xff", b"x")]))
    )
    assert "secret" not in repr(found)
    assert found.fault is not None
    assert "secret" not in repr(found.fault)


def test_every_hostile_batch_is_stepped_over() -> None:
    for name, data in hostile().items():
        if len(data) < HEAD_BYTES:
            continue
        _, end = read(data, highwater=1_000)
        assert end > 0, name
