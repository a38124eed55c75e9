"""Records that the broker deleted before they were read: they can only be reported."""

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import aiokafka
from aiokafka import errors

from mailtopic_runtime import Logger, get_logger
from mailtopic_sender.ports import Committed


class RetentionWatch:
    """Compares where reading continued with where the log starts; one line for each loss.

    Transactions and compaction leave gaps, too, so a gap alone proves nothing. The loss of a whole
    partition is noticed only when it is assigned or a new record arrives.
    """

    def __init__(self, count: Callable[[int], None]) -> None:
        """Start; `count` is called with the number of lost offsets."""
        self._count = count
        self._next: dict[aiokafka.TopicPartition, int] = {}
        self._log = get_logger(__name__)

    async def resume(
        self,
        consumer: aiokafka.AIOKafkaConsumer,
        committed: Mapping[aiokafka.TopicPartition, int],
    ) -> None:
        """Start again from the group's commits.

        Raises:
            KafkaError: the broker can't be asked.
        """
        self._next = dict(committed)
        await self._compare(consumer, committed)

    def forget(self) -> None:
        """Drop everything: the partitions are given up."""
        self._next = {}

    def go_back(self, place: aiokafka.TopicPartition, offset: int) -> None:
        """Expect records that were read before."""
        self._next[place] = offset

    def returned(self, batches: Mapping[aiokafka.TopicPartition, Sequence[Any]]) -> str | None:
        """Return the name of a partition that went back to offsets before those already read."""
        for place, batch in batches.items():
            if batch and batch[0].offset < self._next.get(place, 0):
                return f"{place.topic}/{place.partition}"
        return None

    async def follow(
        self,
        consumer: aiokafka.AIOKafkaConsumer,
        batches: Mapping[aiokafka.TopicPartition, Sequence[Any]],
    ) -> None:
        """Check what was read."""
        firsts = {place: batch[0].offset for place, batch in batches.items()}
        gaps = [place for place, first in firsts.items() if self._next.get(place, first) < first]
        # A failed request isn't worth a restart.
        with contextlib.suppress(errors.KafkaError):
            await self._compare(consumer, gaps)
        for place, batch in batches.items():
            self._next[place] = batch[-1].offset + 1

    async def _compare(
        self, consumer: aiokafka.AIOKafkaConsumer, places: Iterable[aiokafka.TopicPartition]
    ) -> None:
        asked = list(places)
        begins = await consumer.beginning_offsets(asked) if asked else {}
        for place, begin in begins.items():
            gone = begin - self._next[place]
            if gone > 0:
                self._next[place] = begin
                self._count(gone)
                self._log.warning(
                    "records.gone",
                    topic=place.topic,
                    partition=place.partition,
                    offsets=gone,
                    reason="the topic's retention deleted them before they were read",
                )


async def begins_of_cut_off(
    consumer: aiokafka.AIOKafkaConsumer,
    committed: Mapping[aiokafka.TopicPartition, Committed],
    *,
    log: Logger,
) -> Mapping[aiokafka.TopicPartition, Committed]:
    """Return where to continue in logs that end before the committed offset: at their start.

    A broker that lost power may have lost the end of a log and kept the commit. Kafka's client then
    reads from the start, where most mails were sent long ago; without metadata, all existing
    outcomes are read first.

    Raises:
        KafkaError: the broker can't be asked.
    """
    ends = await consumer.end_offsets(list(committed)) if committed else {}
    cut_off = [place for place, each in committed.items() if each.offset > ends[place]]
    for place in cut_off:
        log.warning(
            "log.cut_off",
            topic=place.topic,
            partition=place.partition,
            committed=committed[place].offset,
            end=ends[place],
            reason="its log ends before the commit: it is read again, without what has an outcome",
        )
    begins = await consumer.beginning_offsets(cut_off) if cut_off else {}
    return {place: Committed(begin, "") for place, begin in begins.items()}
