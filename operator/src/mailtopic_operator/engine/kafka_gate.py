"""Lets nobody wait for a Kafka that is known to be away."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from mailtopic_operator.domain.kafka import (
    ConfigChange,
    KafkaProblem,
    NewTopic,
    ProblemKind,
    TopicState,
)
from mailtopic_operator.ports import Answers, KafkaAdmin
from mailtopic_runtime import StateLog, get_logger

_PROBE_S: Final = 1.0


class KafkaGate:
    """`KafkaAdmin` that remembers that Kafka is away, and asks in the background until it is back.

    Without it every batch would take a whole request timeout, and hand edits in the cluster would
    stay for that long.

    Args:
        admin: the real one.

    Attributes:
        on_back: called when Kafka answers again.
    """

    def __init__(self, admin: KafkaAdmin) -> None:
        self._admin = admin
        self.on_back: Callable[[], None] = _nothing
        self._problem: KafkaProblem | None = None
        self._went = asyncio.Event()
        self._state = StateLog(get_logger(__name__), "kafka")
        self._asked = "mails"

    @property
    def is_open(self) -> bool:
        """Whether Kafka answered when it was last asked."""
        return self._problem is None

    async def watch(self) -> None:
        """Ask, while Kafka is away, until it is back; runs until it is cancelled."""
        while True:
            await self._went.wait()
            while self._problem is not None:
                await asyncio.sleep(_PROBE_S)
                answer = (await self._admin.describe([self._asked]))[self._asked]
                if not _is_absence(answer):
                    self._problem = None
            self._went.clear()
            self._state.up()
            self.on_back()

    async def describe(self, topics: Collection[str]) -> Mapping[str, TopicState | KafkaProblem]:
        """Tell what each topic is."""
        if self._problem is not None:
            return dict.fromkeys(topics, self._problem)
        answers = await self._admin.describe(topics)
        self._notice(answers)
        return answers

    async def create(self, topics: Sequence[NewTopic], *, dry_run: bool = False) -> Answers:
        """Make topics."""
        if self._problem is not None:
            return dict.fromkeys((topic.name for topic in topics), self._problem)
        return await self._admin.create(topics, dry_run=dry_run)

    async def grow(self, partitions: Mapping[str, int]) -> Answers:
        """Give topics so many partitions in all."""
        if self._problem is not None:
            return dict.fromkeys(partitions, self._problem)
        return await self._admin.grow(partitions)

    async def alter(self, changes: Sequence[ConfigChange]) -> Answers:
        """Set and remove some config keys."""
        if self._problem is not None:
            return dict.fromkeys((change.name for change in changes), self._problem)
        return await self._admin.alter(changes)

    async def delete(self, topics: Collection[str]) -> Answers:
        """Delete topics."""
        if self._problem is not None:
            return dict.fromkeys(topics, self._problem)
        return await self._admin.delete(topics)

    def _notice(self, answers: Mapping[str, TopicState | KafkaProblem]) -> None:
        if not answers or not all(_is_absence(answer) for answer in answers.values()):
            if answers:
                self._state.up()
            return
        self._asked, answer = next(iter(answers.items()))
        if isinstance(answer, KafkaProblem):
            self._problem = answer
            self._state.down(answer.message)
            self._went.set()


def _is_absence(answer: TopicState | KafkaProblem) -> bool:
    return isinstance(answer, KafkaProblem) and answer.kind is ProblemKind.UNAVAILABLE


def _nothing() -> None:
    """Nobody wants to know yet."""
