"""How many records wait in the topics of a real cluster, by offsets."""

import asyncio
import itertools
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Final

from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka import admin as kafka

from mailtopic_operator.adapters.kafka_client import KafkaClient
from mailtopic_operator.domain.kafka import KafkaProblem

_PARTITIONS: Final = 2000
_GROUPS_AT_ONCE: Final = 4

Offsets = dict[tuple[str, int], int | KafkaProblem]


class ConfluentBacklog:
    """`KafkaBacklog` by confluent-kafka."""

    def __init__(self, client: KafkaClient) -> None:
        self._client = client

    async def counts(self, topics: Mapping[str, int]) -> Mapping[str, int | KafkaProblem]:
        """Count the records in topics (name: partitions); compacted ones less accurately."""
        ends = await self._offsets(topics, kafka.OffsetSpec.latest())
        starts = await self._offsets(topics, kafka.OffsetSpec.earliest())
        return {
            name: _sum(
                _between(starts[name, number], ends[name, number]) for number in range(count)
            )
            for name, count in topics.items()
        }

    async def lags(
        self, groups: Mapping[str, Mapping[str, int]]
    ) -> Mapping[str, int | KafkaProblem]:
        """Count by group the unread records in its topics (name: partitions)."""
        topics = {name: count for of_group in groups.values() for name, count in of_group.items()}
        ends = await self._offsets(topics, kafka.OffsetSpec.latest())
        starts = await self._offsets(topics, kafka.OffsetSpec.earliest())
        limit = asyncio.Semaphore(_GROUPS_AT_ONCE)

        async def lag(group: str, of_group: Mapping[str, int]) -> int | KafkaProblem:
            async with limit:
                committed = await self._committed(group, of_group)
            if isinstance(committed, KafkaProblem):
                return committed
            return _sum(
                _between(_position(committed.get(key), starts[key]), ends[key])
                for key in _keys(of_group)
            )

        found = await asyncio.gather(*(lag(*item) for item in groups.items()))
        return dict(zip(groups, found, strict=True))

    async def _offsets(self, topics: Mapping[str, int], spec: kafka.OffsetSpec) -> Offsets:
        offsets: Offsets = {}
        rest = iter(_keys(topics))
        while some := list(itertools.islice(rest, _PARTITIONS)):
            wanted = {TopicPartition(name, number): spec for name, number in some}
            answers = await self._client.ask(
                "list_offsets", partial(_list_offsets, wanted, self._client.timeout_s), _offset
            )
            offsets |= {(key.topic, key.partition): answer for key, answer in answers.items()}
        return offsets

    async def _committed(
        self, group: str, topics: Mapping[str, int]
    ) -> dict[tuple[str, int], int] | KafkaProblem:
        wanted = ConsumerGroupTopicPartitions(
            group, [TopicPartition(*key) for key in _keys(topics)]
        )
        answers = await self._client.ask(
            "list_group_offsets",
            partial(_list_group_offsets, wanted, self._client.timeout_s),
            _committed_offsets,
        )
        return answers[group]


def _keys(topics: Mapping[str, int]) -> list[tuple[str, int]]:
    return [(name, number) for name, count in topics.items() for number in range(count)]


def _list_offsets(
    wanted: Mapping[TopicPartition, kafka.OffsetSpec], timeout_s: float, client: kafka.AdminClient
) -> Any:
    return client.list_offsets(dict(wanted), request_timeout=timeout_s)


def _list_group_offsets(
    wanted: ConsumerGroupTopicPartitions, timeout_s: float, client: kafka.AdminClient
) -> Any:
    return client.list_consumer_group_offsets([wanted], request_timeout=timeout_s)


def _offset(answer: Any) -> int:
    return int(answer.offset)


def _committed_offsets(answer: Any) -> dict[tuple[str, int], int]:
    return {
        (item.topic, item.partition): item.offset
        for item in answer.topic_partitions or ()
        if item.error is None and item.offset >= 0
    }


def _position(committed: int | None, start: int | KafkaProblem) -> int | KafkaProblem:
    # Without a commit a group begins at the start; records removed by retention are no lag.
    if committed is None or isinstance(start, KafkaProblem):
        return start
    return max(committed, start)


def _between(start: int | KafkaProblem, end: int | KafkaProblem) -> int | KafkaProblem:
    if isinstance(start, KafkaProblem):
        return start
    return end if isinstance(end, KafkaProblem) else max(0, end - start)


def _sum(numbers: Iterable[int | KafkaProblem]) -> int | KafkaProblem:
    total = 0
    for number in numbers:
        if isinstance(number, KafkaProblem):
            return number
        total += number
    return total
