"""Creates the topics that a MailTopic misses, for senders without an operator.

Nothing that exists is changed, but for one thing: satellites get as many partitions as the main
topic has, because a record keeps its partition number everywhere.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka import errors
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from mailtopic_contract import MAX_RECORD_BYTES, TopicNames, topic_config
from mailtopic_runtime import get_logger

_RETRY_S = 1.0
_CALL_S = 30.0
_EXISTS = 36
_MAX_MESSAGE_BYTES = "max.message.bytes"
_ABSENCE = (errors.KafkaConnectionError, errors.NodeNotReadyError, OSError, TimeoutError)


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """The main topic as it is."""

    partitions: int
    max_record_bytes: int


class KafkaTopics:
    """The topics of one MailTopic.

    Args:
        client_kwargs: how to reach Kafka, as aiokafka's keyword arguments.
        names: the topics.
        partitions: of the main topic if it has to be created.
        replication: of topics that have to be created; -1 is the broker's default.
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

    async def ensure(self) -> TopicFacts:
        """Return when every topic exists with enough partitions; waits for the broker."""
        said: str | None = None
        while True:
            try:
                async with asyncio.timeout(_CALL_S):
                    return await self._ensure_once()
            except (errors.KafkaError, OSError, TimeoutError) as error:
                said = self._say(error, said)
            await asyncio.sleep(_RETRY_S)

    def _say(self, error: Exception, said: str | None) -> str | None:
        # A broker that doesn't answer is the monitor's business; a refusal is told here, once.
        is_absence = isinstance(error, _ABSENCE) or getattr(error, "retriable", False)
        reason = said if is_absence else type(error).__name__
        if reason is not None and reason != said:
            self._log.warning("topics.refused", reason=reason)
        return reason

    async def _ensure_once(self) -> TopicFacts:
        admin = AIOKafkaAdminClient(**self._client_kwargs)
        try:
            await admin.start()
            found = await self._describe(admin)
            if self._names.main not in found:
                main = self._topic(self._names.main, self._partitions, MAX_RECORD_BYTES)
                await self._create(admin, [main])
                found = await self._wait_for(admin, {self._names.main})
            partitions = found[self._names.main]
            max_bytes = await self._max_record_bytes(admin)
            missing = [name for name in self._names.all if name not in found]
            if missing:
                await self._create(
                    admin, [self._topic(name, partitions, max_bytes) for name in missing]
                )
                found = await self._wait_for(admin, set(self._names.all))
            await self._grow(admin, found, partitions)
            return TopicFacts(partitions, max_bytes)
        finally:
            await admin.close()

    def _topic(self, name: str, partitions: int, max_record_bytes: int) -> NewTopic:
        configs = topic_config(self._names, name, max_record_bytes=max_record_bytes)
        # aiokafka takes -1 only together with an assignment, even if that is empty.
        assignments: dict[int, int] | None = {} if self._replication < 0 else None
        return NewTopic(name, partitions, self._replication, assignments, configs)

    async def _describe(self, admin: AIOKafkaAdminClient) -> dict[str, int]:
        """Partitions by topic, of those of our topics that exist and have leaders."""
        # All topics are asked for: naming a missing one would make some brokers create it.
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

    async def _grow(
        self, admin: AIOKafkaAdminClient, found: Mapping[str, int], partitions: int
    ) -> None:
        short = {name: NewPartitions(partitions) for name in found if found[name] < partitions}
        if short:
            try:
                await admin.create_partitions(short)
            except errors.InvalidPartitionsError:
                return  # another sender was quicker; if not, the next start tries again
            self._log.info("topics.grown", topics=sorted(short), partitions=partitions)

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
