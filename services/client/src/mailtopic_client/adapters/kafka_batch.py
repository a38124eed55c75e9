"""Filling a producer's batch by hand, with one future for all records instead of one for each."""

from collections.abc import Sequence

from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from mailtopic_client.errors import RecordRefused
from mailtopic_client.ports import OutgoingRecord

_record_bytes = DefaultRecordBatchBuilder.estimate_size_in_bytes


def fill(batch: BatchBuilder, records: Sequence[OutgoingRecord], *, max_record_bytes: int) -> int:
    """Fill an empty batch with records; return how many it took: at least one.

    Raises:
        RecordRefused: one of them can't be sent at all.
    """
    for count, (key, value, headers, timestamp_ms) in enumerate(records):
        if key is None and value is None:
            raise RecordRefused("invalid", "a record needs a key or a value")
        listed = list(headers)
        if _record_bytes(key, value, listed) > max_record_bytes:
            raise RecordRefused("too-large", "the record is larger than what may be sent")
        added = batch.append(key=key, value=value, headers=listed, timestamp=timestamp_ms)
        if added is None:
            return count
    return len(records)
