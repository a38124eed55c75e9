"""Creates a MailTopic's missing topics, for senders without an operator.

Existing topics are not changed, with one exception: satellites get as many partitions as the main
topic has, because a record keeps its partition number everywhere. Topics are created when a sender
starts, and never while it runs: a user that deletes one may be about to create it again.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka import errors
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from mailtopic_client.adapters.kafka_words import describe_refusal
from mailtopic_contract import MAX_RECORD_BYTES, TopicNames, topic_config
from mailtopic_runtime import StateLog, get_logger

_RETRY_S = 1.0
_CALL_S = 30.0
_EXISTS = 36
_MAX_MESSAGE_BYTES = "max.message.bytes"
_ABSENCE = (errors.KafkaConnectionError, errors.NodeNotReadyError, OSError, TimeoutError)


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """The main topic's current properties."""

    partitions: int
    max_record_bytes: int


class KafkaTopics:
    """The topics of one MailTopic.

    Args:
        client_kwargs: how to reach Kafka, as aiokafka's keyword arguments.
        names: the topics.
        partitions: number of partitions of the main topic if it has to be created.
        replication: replication factor of created topics; -1 is the broker's default.
    """

    def __init__(
        self,
        client_kwargs: Mapping[str, Any],
        names: TopicNames,
        *,
        partitions: int,
        replication: int = -1,
    ) -> None:
        self._client_kwargs = {**client_kwargs, "client_id": "mailtopic-sender-topics"}
        self._names = names
        self._partitions = partitions
        self._replication = replication
        self._log = get_logger(__name__)
        self._state = StateLog(self._log, "topics")

    @property
    def problem(self) -> str | None:
        """Why `ensure` fails, as text; None while nothing is refused."""
        return self._state.reason

    async def ensure(self) -> TopicFacts:
        """Return when every topic exists with enough partitions; waits for the broker."""
        while True:
            try:
                async with asyncio.timeout(_CALL_S):
                    facts = await self._ensure_once()
            except (errors.KafkaError, OSError, TimeoutError) as error:
                self._note_refusal(error)
            else:
                self._state.up()
                return facts
            await asyncio.sleep(_RETRY_S)

    def _note_refusal(self, error: Exception) -> None:
        # A broker that doesn't answer is reported by the monitor.
        if isinstance(error, _ABSENCE) or getattr(error, "retriable", False):
            return
        topics = f"{self._names.main} or one of its satellites"
        self._state.down(describe_refusal(error, topic=topics) or type(error).__name__)

    async def _ensure_once(self) -> TopicFacts:
        admin = AIOKafkaAdminClient(**self._client_kwargs)
        try:
            await admin.start()
            found = await self._describe(admin)
            if self._names.main not in found:
                main = self._topic(self._names.main, self._partitions, MAX_RECORD_BYTES)
                await self._create(admin, [main])
                found = await self._wait_for(admin, {self._names.main})
            max_bytes = await self._create_satellites(admin, found)
            # Without permission to grow them, it delivers the mails of their existing partitions.
            with contextlib.suppress(errors.KafkaError):
                await self.grow(admin, found)
            return TopicFacts(found[self._names.main], max_bytes)
        finally:
            await admin.close()

    async def _create_satellites(self, admin: AIOKafkaAdminClient, found: Mapping[str, int]) -> int:
        """Create missing topics and wait for them; returns the main topic's max.message.bytes."""
        max_bytes = await self._max_record_bytes(admin)
        partitions = found[self._names.main]
        missing = [name for name in self._names.all if name not in found]
        if missing:
            new = [self._topic(name, partitions, max_bytes) for name in missing]
            await self._create(admin, new)
            await self._wait_for(admin, set(self._names.all))
        return max_bytes

    def _topic(self, name: str, partitions: int, max_record_bytes: int) -> NewTopic:
        configs = topic_config(self._names, name, max_record_bytes=max_record_bytes)
        # aiokafka takes -1 only together with an assignment, even if that is empty.
        assignments: dict[int, int] | None = {} if self._replication < 0 else None
        return NewTopic(name, partitions, self._replication, assignments, configs)

    async def _describe(self, admin: AIOKafkaAdminClient) -> dict[str, int]:
        """Return the partition counts of those of our topics that exist and have leaders."""
        # All topics are requested: naming a missing one would make some brokers create it.
        found = {topic["topic"]: topic for topic in await admin.describe_topics()}
        return {
            name: len(found[name]["partitions"])
            for name in self._names.all
            if name in found and not found[name]["error_code"] and found[name]["partitions"]
        }

    async def _wait_for(self, admin: AIOKafkaAdminClient, names: set[str]) -> dict[str, int]:
        while True:
            found = await self._describe(admin)
            if names <= found.keys():
                return found
            await asyncio.sleep(0.05)

    async def _create(self, admin: AIOKafkaAdminClient, topics: list[NewTopic]) -> None:
        try:
            answer = await admin.create_topics(topics)
        except AttributeError:
            # aiokafka knows no controller while one is being elected.
            raise errors.KafkaConnectionError("no controller") from None
        for name, code, *_ in answer.topic_errors:
            if code and code != _EXISTS:  # another sender was quicker
                raise errors.for_code(code)(name)
            if not code:
                self._log.info("topic.created", topic=name)

    async def grow(self, admin: AIOKafkaAdminClient, found: Mapping[str, int]) -> None:
        """Give satellites as many partitions as the main topic has.

        Args:
            admin: a client that is connected.
            found: partitions of those topics that exist, the main one among them.

        Raises:
            KafkaError: the broker doesn't allow it, or can't do it now; of all that it can, it is
                done.
        """
        partitions = found[self._names.main]
        short = [name for name in found if found[name] < partitions]
        grown: list[str] = []
        refusal: errors.KafkaError | None = None
        for name in sorted(short):  # each by itself: what holds for one needn't for another
            try:
                await admin.create_partitions({name: NewPartitions(partitions)})
            except errors.InvalidPartitionsError:
                continue  # another sender was quicker
            except errors.KafkaError as error:
                refusal = error
            else:
                grown.append(name)
        if grown:
            self._log.info("topics.grown", topics=",".join(grown), partitions=partitions)
        if refusal is not None:
            raise refusal

    async def _max_record_bytes(self, admin: AIOKafkaAdminClient) -> int:
        resource = ConfigResource(
            ConfigResourceType.TOPIC, self._names.main, {_MAX_MESSAGE_BYTES: None}
        )
        for answer in await admin.describe_configs([resource]):
            for code, _, _, _, entries in answer.resources:
                if code:
                    raise errors.for_code(code)(self._names.main)
                for entry in entries:
                    if entry[0] == _MAX_MESSAGE_BYTES:
                        return int(entry[1])
        return MAX_RECORD_BYTES
