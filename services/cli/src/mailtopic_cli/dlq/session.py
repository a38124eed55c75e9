"""Shared by all `mailtopic dlq` commands."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

from mailtopic_cli.dlq.errors import TopicMissing
from mailtopic_cli.dlq.letter import DeadLetter, read_letter
from mailtopic_cli.dlq.ports import TopicReader
from mailtopic_cli.dlq.progress import Progress
from mailtopic_cli.dlq.selection import Selection
from mailtopic_contract import LegacyDefaults, TopicNames
from mailtopic_runtime import Clock


@dataclass(frozen=True, slots=True)
class Session:
    """The topics, how to read them, and what time it is."""

    names: TopicNames
    legacy: LegacyDefaults
    reader: TopicReader
    clock: Clock
    progress: Progress

    async def dlq_partitions(self) -> int:
        """Return how many partitions the DLQ has.

        Raises:
            TopicMissing: there is no DLQ.
        """
        found = await self.reader.partitions(self.names.dlq)
        if not found:
            raise TopicMissing(
                f"the topic {self.names.dlq} does not exist: check --topic and the brokers"
            )
        return found

    async def letters(self, selection: Selection) -> AsyncIterator[DeadLetter]:
        """Yield the selected letters by partition and offset, up to the current end."""
        read = 0
        for partition in range(await self.dlq_partitions()):
            reading = self.reader.read(self.names.dlq, partition, since_ms=selection.since_ms)
            async with aclosing(reading) as batches:
                async for batch in batches:
                    for record in batch:
                        letter = read_letter(record, self.legacy)
                        if selection.takes(letter):
                            yield letter
                    read += len(batch)
                    self.progress.at(f"Reading {self.names.dlq}", read)
