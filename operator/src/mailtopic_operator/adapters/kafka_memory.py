"""The shipped fake of Kafka's topics; it refuses what a real cluster refuses."""

import itertools
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final

from mailtopic_operator.domain.kafka import (
    ConfigChange,
    KafkaProblem,
    NewTopic,
    ProblemKind,
    TopicState,
)

_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,249}")
_CONFIG_KEYS: Final = frozenset(
    {
        "cleanup.policy",
        "compression.type",
        "delete.retention.ms",
        "max.message.bytes",
        "message.timestamp.type",
        "min.cleanable.dirty.ratio",
        "min.compaction.lag.ms",
        "min.insync.replicas",
        "retention.bytes",
        "retention.ms",
        "segment.bytes",
        "segment.ms",
        "unclean.leader.election.enable",
    }
)
_AWAY: Final = KafkaProblem(ProblemKind.UNAVAILABLE, "Kafka doesn't answer in time")


class MemoryAdmin:
    """`KafkaAdmin` and `KafkaBacklog` in memory.

    Args:
        brokers: the largest replication factor that is possible.

    Attributes:
        is_away: while true, every request is answered with UNAVAILABLE.
        forbidden: operations that the user may not do, such as ``create``.
        deletes: False is delete.topic.enable=false.
        requests: how often each operation was requested.
        records: the number of waiting records, by topic.
    """

    def __init__(self, brokers: int = 1) -> None:
        self._brokers = brokers
        self._topics: dict[str, TopicState] = {}
        self._ids = itertools.count(1)
        self.is_away = False
        self.forbidden: set[str] = set()
        self.deletes = True
        self.requests: Counter[str] = Counter()
        self.records: dict[str, int] = {}

    @property
    def topics(self) -> Mapping[str, TopicState]:
        """The topics that exist."""
        return dict(self._topics)

    async def describe(self, topics: Collection[str]) -> Mapping[str, TopicState | KafkaProblem]:
        """Return each topic's state; an absent one is a problem of kind MISSING."""
        hindrance = self._hindrance("describe")
        return {name: hindrance or self._topics.get(name) or _missing(name) for name in topics}

    async def create(
        self, topics: Sequence[NewTopic], *, dry_run: bool = False
    ) -> Mapping[str, KafkaProblem | None]:
        """Create topics; with dry_run only check whether Kafka would."""
        hindrance = self._hindrance("create")
        return {topic.name: hindrance or self._create(topic, dry_run=dry_run) for topic in topics}

    async def grow(self, partitions: Mapping[str, int]) -> Mapping[str, KafkaProblem | None]:
        """Raise topics to these total numbers of partitions."""
        hindrance = self._hindrance("grow") if partitions else None
        return {name: hindrance or self._grow(name, n) for name, n in partitions.items()}

    async def alter(self, changes: Sequence[ConfigChange]) -> Mapping[str, KafkaProblem | None]:
        """Set and remove some config keys; all others stay unchanged."""
        hindrance = self._hindrance("alter") if changes else None
        return {change.name: hindrance or self._alter(change) for change in changes}

    async def delete(self, topics: Collection[str]) -> Mapping[str, KafkaProblem | None]:
        """Delete topics with all their records."""
        hindrance = self._hindrance("delete") if topics else None
        if hindrance is None and not self.deletes:
            hindrance = KafkaProblem(ProblemKind.NOT_SUPPORTED, "Topic deletion is disabled.")
        answers: dict[str, KafkaProblem | None] = {}
        for name in topics:
            there = name in self._topics
            answers[name] = hindrance or (None if there else _missing(name))
            if answers[name] is None:
                del self._topics[name]
                self.records.pop(name, None)
        return answers

    async def counts(self, topics: Mapping[str, int]) -> Mapping[str, int | KafkaProblem]:
        """Count the records in topics."""
        hindrance = self._hindrance("counts") if topics else None
        return {
            name: hindrance
            or (self.records.get(name, 0) if name in self._topics else _missing(name))
            for name in topics
        }

    async def lags(
        self, groups: Mapping[str, Mapping[str, int]]
    ) -> Mapping[str, int | KafkaProblem]:
        """Count by group the records in its topics; in this fake nothing is ever read."""
        hindrance = self._hindrance("lags") if groups else None
        return {
            group: hindrance or sum(self.records.get(name, 0) for name in topics)
            for group, topics in groups.items()
        }

    def edit(self, name: str, **config: str | None) -> None:
        """Edit a topic's config by hand; keys have _ for dots, None removes one."""
        topic = self._topics[name]
        changed = {**topic.config, **{key.replace("_", "."): v for key, v in config.items()}}
        left = {key: value for key, value in changed.items() if value is not None}
        self._topics[name] = replace(topic, config=left)

    def _hindrance(self, operation: str) -> KafkaProblem | None:
        self.requests[operation] += 1
        if self.is_away:
            return _AWAY
        if operation in self.forbidden:
            return KafkaProblem(ProblemKind.NOT_AUTHORISED, "Broker: Topic authorization failed")
        return None

    def _create(self, topic: NewTopic, *, dry_run: bool) -> KafkaProblem | None:
        if topic.name in self._topics:
            return KafkaProblem(ProblemKind.EXISTS, "Topic already exists.")
        if not _NAME.fullmatch(topic.name):
            return KafkaProblem(ProblemKind.INVALID, "Topic name is invalid")
        copies = 1 if topic.replication_factor == -1 else topic.replication_factor
        if copies > self._brokers:
            return KafkaProblem(ProblemKind.INVALID, "Unable to replicate the partition")
        unknown = topic.config.keys() - _CONFIG_KEYS
        if unknown:
            return KafkaProblem(ProblemKind.INVALID, f"Unknown topic config name: {min(unknown)}")
        if not dry_run:
            self._topics[topic.name] = TopicState(
                topic.name, f"id-{next(self._ids)}", topic.partitions, copies, dict(topic.config)
            )
        return None

    def _grow(self, name: str, partitions: int) -> KafkaProblem | None:
        topic = self._topics.get(name)
        if topic is None:
            return _missing(name)
        if partitions <= topic.partitions:
            return KafkaProblem(ProblemKind.INVALID, "The topic has as many partitions already")
        self._topics[name] = replace(topic, partitions=partitions)
        return None

    def _alter(self, change: ConfigChange) -> KafkaProblem | None:
        topic = self._topics.get(change.name)
        if topic is None:
            return _missing(change.name)
        unknown = change.set.keys() - _CONFIG_KEYS
        if unknown:
            return KafkaProblem(ProblemKind.INVALID, f"Unknown topic config name: {min(unknown)}")
        config = {k: v for k, v in topic.config.items() if k not in change.remove} | dict(
            change.set
        )
        self._topics[change.name] = replace(topic, config=config)
        return None


def _missing(name: str) -> KafkaProblem:
    return KafkaProblem(ProblemKind.MISSING, f"no topic {name}")
