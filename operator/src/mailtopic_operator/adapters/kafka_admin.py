"""Topics of a real cluster, by Kafka's admin API."""

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from confluent_kafka import TopicCollection
from confluent_kafka import admin as kafka

from mailtopic_operator.adapters.kafka_client import KafkaClient
from mailtopic_operator.domain.kafka import (
    ConfigChange,
    KafkaProblem,
    NewTopic,
    TopicState,
)

ItemT = TypeVar("ItemT")

_TOPIC: Final = kafka.ResourceType.TOPIC
_ON_TOPIC: Final = kafka.ConfigSource.DYNAMIC_TOPIC_CONFIG.value

_DESCRIBED: Final = 1000
"""Topics in one request for descriptions."""
_CONFIGURED: Final = 250
"""Topics in one request for configs: an answer holds about 35 objects for each topic."""
_RECORDS: Final = 4000
"""Metadata records one request may write: KRaft's controller refuses more than 10,000 at once."""


class ConfluentAdmin:
    """`KafkaAdmin` by confluent-kafka: aiokafka's client can't alter single config keys."""

    def __init__(self, client: KafkaClient) -> None:
        self._client = client

    async def describe(self, topics: Collection[str]) -> Mapping[str, TopicState | KafkaProblem]:
        """Return each topic's state; an absent one is a problem of kind MISSING."""
        states: dict[str, TopicState | KafkaProblem] = {}
        for names in _chunks(sorted(topics), _DESCRIBED):
            states |= await self._describe(names)
        there = [name for name, state in states.items() if isinstance(state, TopicState)]
        for names in _chunks(there, _CONFIGURED):
            for name, config in (await self._configs(names)).items():
                states[name] = _with_config(states[name], config)
        return states

    async def create(
        self, topics: Sequence[NewTopic], *, dry_run: bool = False
    ) -> Mapping[str, KafkaProblem | None]:
        """Create topics; with dry_run only check whether Kafka would."""
        answers: dict[str, KafkaProblem | None] = {}
        for some in _by_weight(topics, lambda topic: 1 + topic.partitions + len(topic.config)):
            wanted = [
                kafka.NewTopic(
                    topic.name,
                    num_partitions=topic.partitions,
                    replication_factor=topic.replication_factor,
                    config=dict(topic.config),
                )
                for topic in some
            ]
            timeouts = {**self._timeouts, "validate_only": dry_run}
            answers |= await self._client.ask(
                "create_topics", partial(_create_topics, wanted, timeouts), _nothing
            )
        return answers

    async def grow(self, partitions: Mapping[str, int]) -> Mapping[str, KafkaProblem | None]:
        """Raise topics to these total numbers of partitions."""
        answers: dict[str, KafkaProblem | None] = {}
        for some in _by_weight(list(partitions.items()), lambda item: item[1]):
            wanted = [kafka.NewPartitions(name, count) for name, count in some]
            answers |= await self._client.ask(
                "create_partitions",
                partial(_create_partitions, wanted, self._timeouts),
                _nothing,
            )
        return answers

    async def alter(self, changes: Sequence[ConfigChange]) -> Mapping[str, KafkaProblem | None]:
        """Set and remove some config keys; all others stay unchanged."""
        answers: dict[str, KafkaProblem | None] = {}
        for some in _by_weight(changes, lambda change: len(change.set) + len(change.remove)):
            wanted = [_incremental(change) for change in some]
            asked = await self._client.ask(
                "alter_configs", partial(_alter_configs, wanted, self._client.timeout_s), _nothing
            )
            answers |= {resource.name: answer for resource, answer in asked.items()}
        return answers

    async def delete(self, topics: Collection[str]) -> Mapping[str, KafkaProblem | None]:
        """Delete topics with all their records."""
        names = sorted(topics)
        if not names:
            return {}
        return await self._client.ask(
            "delete_topics",
            lambda client: client.delete_topics(names, **self._timeouts),
            _nothing,
        )

    @property
    def _timeouts(self) -> dict[str, float]:
        # The controller gets a little less, so that it answers before the client gives up.
        return {
            "operation_timeout": self._client.timeout_s * 0.8,
            "request_timeout": self._client.timeout_s,
        }

    async def _describe(self, names: list[str]) -> dict[str, TopicState | KafkaProblem]:
        return await self._client.ask(
            "describe_topics",
            lambda client: client.describe_topics(
                TopicCollection(names), request_timeout=self._client.timeout_s
            ),
            _state,
        )

    async def _configs(self, names: list[str]) -> dict[str, dict[str, str] | KafkaProblem]:
        resources = [kafka.ConfigResource(_TOPIC, name) for name in names]
        answers = await self._client.ask(
            "describe_configs",
            lambda client: client.describe_configs(
                resources, request_timeout=self._client.timeout_s
            ),
            _set_on_topic,
        )
        return {resource.name: answer for resource, answer in answers.items()}


def _nothing(_answer: object) -> None:
    return None


def _state(description: Any) -> TopicState:
    partitions = description.partitions
    return TopicState(
        name=description.name,
        topic_id=str(description.topic_id),
        partitions=len(partitions),
        replication_factor=len(partitions[0].replicas) if partitions else 0,
    )


def _set_on_topic(entries: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: entry.value
        for name, entry in entries.items()
        if entry.source == _ON_TOPIC and entry.value is not None
    }


def _with_config(
    state: TopicState | KafkaProblem, config: dict[str, str] | KafkaProblem
) -> TopicState | KafkaProblem:
    if isinstance(state, KafkaProblem) or isinstance(config, KafkaProblem):
        return config if isinstance(config, KafkaProblem) else state
    return TopicState(
        state.name, state.topic_id, state.partitions, state.replication_factor, config
    )


def _incremental(change: ConfigChange) -> kafka.ConfigResource:
    entries = [
        kafka.ConfigEntry(name, value, incremental_operation=kafka.AlterConfigOpType.SET)
        for name, value in change.set.items()
    ] + [
        kafka.ConfigEntry(name, None, incremental_operation=kafka.AlterConfigOpType.DELETE)
        for name in change.remove
    ]
    return kafka.ConfigResource(_TOPIC, change.name, incremental_configs=entries)


def _chunks(names: Iterable[str], size: int) -> Iterator[list[str]]:
    rest = iter(names)
    while some := list(itertools.islice(rest, size)):
        yield some


def _by_weight(items: Sequence[ItemT], weigh: Callable[[ItemT], int]) -> Iterator[list[ItemT]]:
    some: list[ItemT] = []
    weight = 0
    for item in items:
        records = weigh(item)
        if some and weight + records > _RECORDS:
            yield some
            some, weight = [], 0
        some.append(item)
        weight += records
    if some:
        yield some


def _create_topics(
    wanted: list[kafka.NewTopic], options: Mapping[str, Any], client: kafka.AdminClient
) -> Any:
    return client.create_topics(wanted, **options)


def _create_partitions(
    wanted: list[kafka.NewPartitions], options: Mapping[str, Any], client: kafka.AdminClient
) -> Any:
    return client.create_partitions(wanted, **options)


def _alter_configs(
    wanted: list[kafka.ConfigResource], timeout_s: float, client: kafka.AdminClient
) -> Any:
    return client.incremental_alter_configs(wanted, request_timeout=timeout_s)
