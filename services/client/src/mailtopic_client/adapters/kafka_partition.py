"""The records of one partition from a fetch response, decoded lazily and without raising."""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import NamedTuple

from aiokafka import TopicPartition

from mailtopic_client.adapters.record_batches import StoredBatch, open_batch, records
from mailtopic_client.adapters.record_parts import BatchFault, Fault, Frame, HeaderTuple, frames
from mailtopic_runtime import get_logger

DEFAULT_MAX_RECORD_BYTES = 4 * 1024 * 1024 + 64 * 1024
MAX_POLL_BYTES = 1024 * 1024
"""One poll returns this many bytes of keys, values and headers, plus at most one record."""

_BROKEN_FRAME_BYTES = 1_024
"""How much is kept of a batch without a findable end."""

_MARKER_BYTES = 1_024
_ABORT = b"\x00\x00\x00\x00"


class FetchedRecord(NamedTuple):
    r"""A record that was read. The repr shows neither key nor value nor headers.

    Attributes:
        offset: where a fault stands for several offsets, the last of them.
        timestamp: epoch milliseconds as stored, which may be any number.
        headers: names and values; a name that isn't UTF-8 is escaped as in ``gr\xf6\xdfe``.
        fault: why it couldn't be read; the other fields then hold what could be read.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: HeaderTuple = ()
    fault: Fault | None = None

    def __repr__(self) -> str:
        return f"FetchedRecord({self.topic!r}, {self.partition}, {self.offset})"

    @property
    def size(self) -> int:
        """Its approximate size in bytes."""
        size = 100 + len(self.key or b"") + len(self.value or b"")
        return size + sum(100 + len(name) + len(value or b"") for name, value in self.headers)


class Reading:
    """What the partitions of one consumer share.

    Attributes:
        room: bytes that the poll may still hand out.
        stepped_over: digest of the batch that was the last fault of each partition, which comes
            again where its end is unknown.
    """

    def __init__(self, max_record_bytes: int) -> None:
        self.max_record_bytes = max_record_bytes
        self.room = MAX_POLL_BYTES
        self.stepped_over: dict[TopicPartition, str] = {}


class StoredBytes:
    """Replaces aiokafka's MemoryRecords: a broker's response, not decoded yet."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def has_next(self) -> bool:
        """Whether there is anything."""
        return bool(self.data)

    def size_in_bytes(self) -> int:
        """Its size in bytes, as stored."""
        return len(self.data)


class PartitionRecords:
    """Replaces aiokafka's: the records of a partition, decoded lazily and without raising.

    Attributes:
        next_fetch_offset: where reading continues.
        reading: set before the first record is asked for.
        highwater: no offset lies behind it.
        is_read: whether nothing is left.
    """

    def __init__(
        self,
        tp: TopicPartition,
        stored: StoredBytes,
        aborted: Sequence[tuple[int, int]] | None,
        fetch_offset: int,
        *_: object,
    ) -> None:
        self.next_fetch_offset = fetch_offset
        self.reading = Reading(DEFAULT_MAX_RECORD_BYTES)
        self.highwater: int | None = None
        self.stored_bytes = stored.size_in_bytes()
        self._tp = tp
        self._data = memoryview(stored.data)
        self._aborted = sorted(aborted or (), key=lambda entry: entry[1])
        self._aborted_producers: set[int] = set()
        self._found = self._read()
        self.is_read = False

    def __iter__(self) -> Iterator[FetchedRecord]:
        return self

    def __next__(self) -> FetchedRecord:
        return next(self._found)

    def _read(self) -> Iterator[FetchedRecord]:
        place = 0
        for frame in frames(self._data):
            place += len(frame.raw)
            if frame.is_whole:
                yield from self._batch(frame, self._data[place:])
            elif place == len(frame.raw):
                # A broker returns the first batch whole (KIP-74), so this one never will be.
                yield from self._fault(frame, "the batch's length is wrong", memoryview(b""))
        self.is_read = True

    def _batch(self, frame: Frame, rest: memoryview) -> Iterator[FetchedRecord]:
        batch = None
        try:
            batch = open_batch(frame.raw, asked_for=self.next_fetch_offset)
            if not self._is_skipped(batch):
                for record in records(batch, max_record_bytes=self.reading.max_record_bytes):
                    if record.offset >= self.next_fetch_offset:
                        self.next_fetch_offset = record.offset + 1
                        yield FetchedRecord(self._tp.topic, self._tp.partition, *record)
        except BatchFault as fault:
            yield from self._broken(batch, frame, str(fault), rest)
        except MemoryError:
            raise
        except Exception as bug:  # noqa: BLE001 - a bug must cost one batch, not the consumer
            yield from self._broken(batch, frame, f"a bug: {type(bug).__name__}", rest)
        else:
            # The end of a batch stays where it was when compaction removes the last record.
            self.next_fetch_offset = self._end(
                batch.last_offset + 1, rest, least=self.next_fetch_offset
            )

    def _is_skipped(self, batch: StoredBatch) -> bool:
        """Whether the batch is a transaction marker or belongs to an aborted transaction."""
        while self._aborted and self._aborted[0][1] <= batch.last_offset:
            self._aborted_producers.add(self._aborted.pop(0)[0])
        if batch.is_control:
            marker = next(records(batch, max_record_bytes=_MARKER_BYTES), None)
            if marker is not None and (marker.key or b"")[:4] == _ABORT:
                self._aborted_producers.discard(batch.producer_id)
            return True
        return batch.is_transactional and batch.producer_id in self._aborted_producers

    def _broken(
        self, batch: StoredBatch | None, frame: Frame, text: str, rest: memoryview
    ) -> Iterator[FetchedRecord]:
        if batch is None or self.next_fetch_offset <= batch.last_offset:
            yield from self._fault(frame, text, rest)
            return
        # Each of its offsets was returned already: the rest has no place in the topic.
        get_logger(__name__).warning(
            "batch.leftover",
            topic=self._tp.topic,
            partition=self._tp.partition,
            offset=batch.last_offset,
            reason=text,
        )

    def _fault(self, frame: Frame, text: str, rest: memoryview) -> Iterator[FetchedRecord]:
        raw = frame.raw if frame.is_whole else frame.raw[:_BROKEN_FRAME_BYTES]
        digest = sha256(raw).hexdigest()
        begin = self.next_fetch_offset
        end = self._end(frame.claimed_end, rest, least=begin + 1)
        self.next_fetch_offset = end
        if self.reading.stepped_over.get(self._tp) == digest:
            return
        self.reading.stepped_over[self._tp] = digest
        is_kept = len(raw) <= self.reading.max_record_bytes
        form = "batch" if is_kept else "none"
        fault = Fault("bad-batch", text, begin, form, len(raw), digest)
        value = bytes(raw) if is_kept else None
        topic, partition = self._tp
        yield FetchedRecord(topic, partition, end - 1, -1, None, value, (), fault)

    def _end(self, claimed: int, rest: memoryview, *, least: int) -> int:
        """Return the offset after a batch.

        Of the end that it claims and the beginning of the next one, the nearer that can be: too
        near a step meets the same batch again, too far a step would lose mails.
        """
        ends = [claimed, Frame(rest, is_whole=False).base_offset]
        last = max(ends) if self.highwater is None else self.highwater
        return min((end for end in ends if least <= end <= last), default=least)
