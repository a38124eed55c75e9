"""Makes requests fail at once while Kafka is known to be unreachable."""

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
    """`KafkaAdmin` that remembers an unreachable Kafka and probes it in the background.

    Without it, every batch would take a whole request timeout, and manual edits in the cluster
    would last that long.

    Args:
        admin: the wrapped KafkaAdmin.

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
        """Whether Kafka answered the last request."""
        return self._problem is None

    async def watch(self) -> None:
        """Probe Kafka whenever it is unreachable, until it answers; runs until cancelled."""
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
        """Return each topic's state."""
        if self._problem is not None:
            return dict.fromkeys(topics, self._problem)
        answers = await self._admin.describe(topics)
        self._notice(answers)
        return answers

    async def create(self, topics: Sequence[NewTopic], *, dry_run: bool = False) -> Answers:
        """Create topics."""
        if self._problem is not None:
            return dict.fromkeys((topic.name for topic in topics), self._problem)
        return await self._admin.create(topics, dry_run=dry_run)

    async def grow(self, partitions: Mapping[str, int]) -> Answers:
        """Raise topics to these total numbers of partitions."""
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
    """The default `on_back`: do nothing."""
