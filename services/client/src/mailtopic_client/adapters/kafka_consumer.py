"""aiokafka's consumer with a parser that no record can break, and with bounded memory.

aiokafka (0.14) raises out of `getmany` for a record that it can't decode, again and again, because
the position stays; a batch is decompressed whole, whatever it expands to; a fetch error of one
partition ends the poll for all. There is no setting for its parser. So its fetcher's own code runs
here with other classes under the names by which it looks them up: docs/adr/0023-kafka-boundary.md.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from types import FunctionType
from typing import Any

import aiokafka
from aiokafka import errors
from aiokafka.consumer import fetcher as fetching

from mailtopic_client.adapters.kafka_partition import (
    DEFAULT_MAX_RECORD_BYTES,
    MAX_POLL_BYTES,
    FetchedRecord,
    PartitionRecords,
    Reading,
    StoredBytes,
)
from mailtopic_runtime import Logger

FETCH_MAX_BYTES = 2 * 1024 * 1024
FETCH_MAX_PARTITION_BYTES = 256 * 1024
"""Bytes fetched ahead of each owned partition. A larger batch is still returned."""

MAX_FETCHED_BYTES = 4 * 1024 * 1024
"""No more is fetched while this many bytes, as stored, are unread."""

_ERROR_PAUSE_S = 1.0
_HANDLED = (
    # aiokafka looks up the leader, or the first offset, by itself.
    errors.NotLeaderForPartitionError,
    errors.UnknownTopicOrPartitionError,
    errors.OffsetOutOfRangeError,
)


def _with(function: Callable[..., Any], **names: Any) -> Any:
    """Return a copy of a function that finds other things under some global names."""
    code = function.__code__
    missing = names.keys() - set(code.co_names)
    if missing:
        raise ImportError(f"aiokafka {aiokafka.__version__}: {function.__name__} has no {missing}")
    known = {**function.__globals__, **names}
    copy = FunctionType(code, known, None, function.__defaults__, function.__closure__)
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


class _FetchResult(fetching.FetchResult):  # type: ignore[misc] # aiokafka has no types
    """Replaces aiokafka's: ends a poll that has no room for more."""

    _partition_records: PartitionRecords | None

    def getall(self, max_records: int | None = None) -> list[FetchedRecord]:
        if not self.check_assignment(self._topic_partition) or self._partition_records is None:
            return []
        found: list[FetchedRecord] = []
        unread = self._partition_records
        while unread.reading.room > 0 and (max_records is None or len(found) < max_records):
            record = next(unread, None)
            if record is None:
                break
            unread.reading.room -= record.size
            found.append(record)
        self._update_position()
        if unread.is_read:
            self._partition_records = None
        return found

    @property
    def unread(self) -> PartitionRecords | None:
        return self._partition_records


class _Client:
    """aiokafka's client, with partitions that the broker can't read left out of fetch responses."""

    def __init__(self, client: Any, errors_of: "_PartitionErrors") -> None:
        self._client = client
        self._errors = errors_of

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def send(self, node_id: int, request: Any) -> Any:
        response = await self._client.send(node_id, request)
        if isinstance(request, fetching.FetchRequest):
            response.topics = [
                (topic, [part for part in parts if self._errors.pass_by(topic, part[0], part[1])])
                for topic, parts in response.topics
            ]
        return response


class _PartitionErrors:
    """Partitions with a broker error, and when each may be fetched again."""

    def __init__(self, log: Logger | None) -> None:
        self.names: dict[aiokafka.TopicPartition, str] = {}
        self._since_s: dict[aiokafka.TopicPartition, float] = {}
        self._until_s: dict[aiokafka.TopicPartition, float] = {}
        self._log = log

    def pass_by(self, topic: str, partition: int, code: int) -> bool:
        """Record a broker's answer; return whether to pass it on to aiokafka."""
        place = aiokafka.TopicPartition(topic, partition)
        error = errors.for_code(code)
        if not code or error in _HANDLED:
            if not code and self.names.pop(place, "") and self._log is not None:
                self._log.info("partition.readable", topic=topic, partition=partition)
            return True
        if self.names.get(place) != error.__name__ and self._log is not None:
            self._log.warning(
                "partition.unreadable", topic=topic, partition=partition, reason=error.__name__
            )
        now_s = time.monotonic()
        if place not in self.names:
            self._since_s[place] = now_s
        self.names[place] = error.__name__
        self._until_s[place] = now_s + _ERROR_PAUSE_S
        return False

    def lasting(self, least_s: float) -> dict[aiokafka.TopicPartition, str]:
        """Return the errors that have lasted at least this long. Thread-safe."""
        began_s = time.monotonic() - least_s
        # Copied in one step: the loop's thread keeps changing it.
        found = dict(self.names)
        return {place: name for place, name in found.items() if self._since_s[place] <= began_s}

    def wait(self, topic: str, partition: int) -> bool:
        """Whether it is too early to fetch the partition again."""
        place = aiokafka.TopicPartition(topic, partition)
        return self._until_s.get(place, 0.0) > time.monotonic()

    def keep(self, places: Collection[aiokafka.TopicPartition]) -> None:
        """Forget all partitions but these."""
        self.names = {place: name for place, name in self.names.items() if place in places}
        self._until_s = {place: end for place, end in self._until_s.items() if place in places}


class _SafeFetcher(fetching.Fetcher):  # type: ignore[misc] # aiokafka has no types
    """Replaces aiokafka's fetcher."""

    _fetch = _with(
        fetching.Fetcher._proc_fetch_request,  # noqa: SLF001 - the seam
        MemoryRecords=StoredBytes,
        PartitionRecords=PartitionRecords,
        FetchResult=_FetchResult,
    )
    _take = _with(fetching.Fetcher.fetched_records, FetchResult=_FetchResult)
    next_record = _with(fetching.Fetcher.next_record, FetchResult=_FetchResult)

    def __init__(
        self,
        client: Any,
        *args: Any,
        max_record_bytes: int = DEFAULT_MAX_RECORD_BYTES,
        log: Logger | None = None,
        **options: Any,
    ) -> None:
        self.errors = _PartitionErrors(log)
        self.reading = Reading(max_record_bytes)
        self._has_room = asyncio.Event()
        super().__init__(_Client(client, self.errors), *args, **options)

    async def fetched_records(self, *args: Any, **options: Any) -> Any:
        self.reading.room = MAX_POLL_BYTES
        taken = await self._take(*args, **options)
        if self._stored_bytes() <= MAX_FETCHED_BYTES:
            self._has_room.set()
        return taken

    async def _proc_fetch_request(self, assignment: Any, node_id: int, request: Any) -> bool:
        self.errors.keep(assignment.tps)
        try:
            if self._stored_bytes() > MAX_FETCHED_BYTES:
                self._has_room.clear()
                await self._has_room.wait()
            # Positions may have moved meanwhile; an answer that doesn't fit is thrown away.
            request._topics = self._askable(request.topics)  # noqa: SLF001 - there is no public API
            if not request.topics:
                await asyncio.sleep(self._retry_backoff)
                return False
        except asyncio.CancelledError:
            return False  # as aiokafka's own does: its fetcher awaits cancelled tasks as they are
        has_records: bool = await self._fetch(assignment, node_id, request)
        for place, unread in self._unread():
            unread.reading = self.reading
            unread.highwater = assignment.state_value(place).highwater
        return has_records

    def _askable(
        self, topics: Sequence[tuple[str, Sequence[tuple[int, int, int]]]]
    ) -> list[tuple[str, list[tuple[int, int, int]]]]:
        wanted = [
            (topic, [part for part in parts if not self.errors.wait(topic, part[0])])
            for topic, parts in topics
        ]
        return [(topic, parts) for topic, parts in wanted if parts]

    def _unread(self) -> list[tuple[aiokafka.TopicPartition, PartitionRecords]]:
        results = [
            (tp, found) for tp, found in self._records.items() if type(found) is _FetchResult
        ]
        return [(tp, found.unread) for tp, found in results if found.unread is not None]

    def _stored_bytes(self) -> int:
        return sum(unread.stored_bytes for _, unread in self._unread())


class SafeConsumer(aiokafka.AIOKafkaConsumer):  # type: ignore[misc] # aiokafka has no types
    """An AIOKafkaConsumer with a `getmany` that returns `FetchedRecord` objects.

    It promises that `getmany` raises for nothing that lies in a topic: what can't be read is a
    record with a `Fault`, and the position is behind it. Transaction markers and aborted records
    are left out. A partition that the broker has an error for is asked for again each second, and
    the others go on.

    Args:
        max_record_bytes: a larger record is too large; its value is left out.
        log: gets a line when a partition can't be read any more, and when it can again; None for
            a consumer that is made again and again, or says it in another way.
        options: as for AIOKafkaConsumer.
    """

    def __init__(
        self,
        *,
        max_record_bytes: int = DEFAULT_MAX_RECORD_BYTES,
        log: Logger | None = None,
        **options: Any,
    ) -> None:
        bounds = {
            "fetch_max_bytes": FETCH_MAX_BYTES,
            "max_partition_fetch_bytes": FETCH_MAX_PARTITION_BYTES,
        }
        super().__init__(**{**bounds, **options})
        fetcher = partial(_SafeFetcher, max_record_bytes=max_record_bytes, log=log)
        self._start = _with(aiokafka.AIOKafkaConsumer.start, Fetcher=fetcher)

    async def start(self) -> None:
        """Connect, and join the group if there is one."""
        await self._start(self)

    @property
    def partition_errors(self) -> Mapping[aiokafka.TopicPartition, str]:
        """The broker's current errors for partitions that can't be read, by error name."""
        return self._fetcher.errors.names if self._fetcher is not None else {}

    def lasting_errors(self, least_s: float) -> Mapping[aiokafka.TopicPartition, str]:
        """Return those `partition_errors` that have lasted at least this long. Thread-safe."""
        return self._fetcher.errors.lasting(least_s) if self._fetcher is not None else {}
