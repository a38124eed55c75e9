"""What lies in Kafka, as any bytes: every reader keeps its promise.

    MAILTOPIC_TEST_FUZZ_S=3600 .venv/bin/python -m pytest tests/unit/fuzz

fuzzes each file's targets for an hour in all; without it, for five seconds.
"""

import gzip
import struct
from collections.abc import Callable
from uuid import UUID

import aiokafka
import lz4.frame
import pytest
from aiokafka.codec import snappy_encode
from aiokafka.record.util import calc_crc32c
from backports import zstd

from mailtopic_client.adapters.kafka_partition import (
    DEFAULT_MAX_RECORD_BYTES,
    PartitionRecords,
    StoredBytes,
)
from mailtopic_contract import LegacyDefaults, Outcome, RecordError, decode_status, encode_outcome
from mailtopic_sender.domain.pace.carried import CarriedError, decode_carried
from mailtopic_sender.engine.incoming import decode_incoming
from mailtopic_sender.engine.watermark import MetadataError, decode_snapshot
from mailtopic_sender.ports import Committed, ConsumedRecord
from support.fuzzing import FUZZ_S, Targets, fuzz_target
from support.hostile_batches import hostile
from support.raw_batches import HEAD_BYTES, NOW_MS, batch, message, record

MAIL_ID = UUID("0b7e9a52-7d43-4f0e-9d8c-1f6b2a3c4d5e")
PLACE = aiokafka.TopicPartition("mails", 0)
LEGACY = LegacyDefaults("ru", 600_000)
HIGHWATER = 1_000


def read_partition(data: bytes) -> None:
    """Records come in order, nothing is raised, and reading goes on behind them, not too far."""
    partition = PartitionRecords(PLACE, StoredBytes(data), [(4, 0)], 5)
    partition.highwater = HIGHWATER
    before = 4
    for each in partition:
        assert before < each.offset < partition.next_fetch_offset
        assert len(each.value or b"") <= DEFAULT_MAX_RECORD_BYTES
        before = each.offset
    assert 5 <= partition.next_fetch_offset <= max(HIGHWATER, before + 1)


def read_signed(data: bytes) -> None:
    """The same, of a batch with a right length and checksum."""
    if len(data) < HEAD_BYTES:
        return
    signed = bytearray(data)
    signed[8:12] = struct.pack(">i", len(data) - 12)
    signed[16] = 2
    signed[17:21] = struct.pack(">I", calc_crc32c(bytes(data[21:])))
    read_partition(bytes(signed))


def read_value(data: bytes) -> None:
    """A record's value is a mail or a reason."""
    incoming = decode_incoming(ConsumedRecord("mails", 0, 7, NOW_MS, None, data), LEGACY)
    assert (incoming.mail is None) == isinstance(incoming.error, RecordError)


def read_headers(data: bytes) -> None:
    """Header names and values of any bytes are understood or refused, and can be written again."""
    parts = data.split(b"\x1f")
    names = [part.decode(errors="backslashreplace") for part in parts[::2]]
    headers = tuple(zip(names, [*parts[1::2], None], strict=False))
    incoming = decode_incoming(ConsumedRecord("mails", 0, 7, -5, None, b"{}", headers), LEGACY)
    assert isinstance(incoming.error, RecordError)
    for name, value in incoming.headers._replace(others=(), origin=incoming.origin).encode():
        assert name.isascii()
        assert value.isascii()


def read_metadata(data: bytes) -> None:
    """Commit metadata is understood or refused."""
    text = data.decode("utf-8", "replace")
    try:
        snapshot = decode_snapshot(Committed(40, text))
    except MetadataError:
        return
    assert snapshot.offset == 40


def read_pace(data: bytes) -> None:
    """What a partition carries of limits is understood, within bounds, or refused."""
    try:
        found = decode_carried(data.decode("utf-8", "replace"), NOW_MS / 1000)
    except CarriedError:
        return
    for each in found.values():
        assert 0 < (each.rate_per_s or 1) <= 100_000
        assert 0 < (each.connections or 1) <= 1000


def read_status(data: bytes) -> None:
    """A record of N.status is an outcome or refused."""
    try:
        event = decode_status(data)
    except RecordError:
        return
    assert isinstance(event.outcome, Outcome)


def batches() -> list[bytes]:
    small = [data for data in hostile().values() if len(data) < 2_000]
    packed = b"".join(record(delta, key=b"k", headers=[(b"a", b"b")]) for delta in range(3))
    codecs = (gzip.compress, lambda data: bytes(snappy_encode(data)), lz4.frame.compress)
    made = [
        batch(body=pack(packed), count=3, attributes=codec, base_offset=5)
        for codec, pack in enumerate((*codecs, zstd.compress), 1)
    ]
    old = message(6, value=gzip.compress(message(0) + message(1)), attributes=1) + message(7)
    return [*small, *made, old, batch(record(), base_offset=5) + batch(record(), base_offset=6)]


TARGETS: Targets = {
    "partitions": (read_partition, batches),
    "batches": (read_signed, batches),
    "values": (
        read_value,
        lambda: [
            b'{"email":"user@example.com","code":"123456"}',
            (
                b'{"v":1,"id":"0b7e9a52-7d43-4f0e-9d8c-1f6b2a3c4d5e","email":"user@example.com",'
                b'"purpose":"signup","locale":"ru","accepted_at":1,"expires_at":2,'
                b'"variables":{"code":"1"}}'
            ),
        ],
    ),
    "headers": (
        read_headers,
        lambda: [
            b"mt-id\x1f0b7e9a52-7d43-4f0e-9d8c-1f6b2a3c4d5e\x1fmt-attempt\x1f2",
            b"mt-not-before\x1f1\x1fmt-outcomes-from\x1f3\x1fmt-first-failure-at\x1f4",
            (
                b"mt-origin-topic\x1fa\x1fmt-origin-partition\x1f0\x1fmt-origin-offset\x1f1"
                b"\x1fmt-origin-timestamp\x1f2"
            ),
            b"mt-error-class\x1fpoison\x1fmt-error-message\x1f\xff\x1ftraceparent\x1f00-a-b-01",
        ],
    ),
    "metadata": (
        read_metadata,
        lambda: [b"", b"v1|AAAA|7", b"v1||0", b"v1|//8=|-1", b"v2|x", b"v1||0|p1;"],
    ),
    "paces": (
        read_pace,
        lambda: [b"p1;Ab3_dEf9,1790000000,2.3333,1.6667,20;other-12,1,,,7", b"p1;a,0,nan,,", b"p2"],
    ),
    "statuses": (
        read_status,
        lambda: [
            encode_outcome(
                MAIL_ID,
                Outcome.ACCEPTED,
                at_ms=NOW_MS,
                attempt=1,
                purpose="signup",
                relay="a",
                reply_class="accepted",
                smtp="250 2.0.0",
            )[1]
        ],
    ),
}


@pytest.mark.timeout(FUZZ_S + 120)
@pytest.mark.parametrize("target", TARGETS)
def test_no_bytes_break_a_promise(target: str, figure: Callable[[str], None]) -> None:
    figure(fuzz_target(TARGETS, target))
