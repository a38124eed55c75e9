"""Offsets that may be committed: as far as everything before them is done."""

import asyncio
from collections import deque

from aiokafka import AIOKafkaConsumer, TopicPartition

COMMIT_EVERY_S = 0.2


class Progress:
    """Which records of each partition are begun and which are done."""

    def __init__(self) -> None:
        self._begun: dict[TopicPartition, deque[int]] = {}
        self._done: dict[TopicPartition, set[int]] = {}

    def begun(self, place: TopicPartition, offset: int) -> None:
        """Note a record, in order of offsets."""
        self._begun.setdefault(place, deque()).append(offset)

    def done(self, place: TopicPartition, offset: int) -> None:
        """Note that a record's mail was accepted."""
        self._done.setdefault(place, set()).add(offset)

    def committable(self) -> dict[TopicPartition, int]:
        """Return the new positions since the last call."""
        found = {}
        for place, begun in self._begun.items():
            done = self._done.get(place, set())
            while begun and begun[0] in done:
                offset = begun.popleft()
                done.discard(offset)
                found[place] = offset + 1
        return found


async def commit_often(consumer: AIOKafkaConsumer, progress: Progress) -> None:
    """Commit what is done, for ever."""
    while True:
        await asyncio.sleep(COMMIT_EVERY_S)
        if positions := progress.committable():
            await consumer.commit(positions)
