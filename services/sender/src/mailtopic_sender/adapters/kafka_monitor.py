"""Whether Kafka is reachable and accepts records: the only source of log lines about it."""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from aiokafka import errors
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from mailtopic_client.adapters.kafka_diagnosis import Diagnosis
from mailtopic_runtime import StateLog, get_logger
from mailtopic_sender.adapters.topic_watch import TopicWatch

_WHILE_UP_S = 3.0
_WHILE_DOWN_S = 0.5
_ANSWER_S = 5.0
_LEAST_REPLICAS = "min.insync.replicas"


class KafkaMonitor:
    """Requests the cluster's metadata every few seconds and logs each change in one line.

    Attributes:
        outcomes_topic: once it exists, each of its partitions must accept records, too. A cluster
            that has lost too many brokers answers but accepts none; then outcomes wait, and a
            process that ended itself for that would only send its mails once more.
        topics: checked as well, once they exist.
    """

    outcomes_topic: str | None = None
    topics: TopicWatch | None = None

    def __init__(self, client_kwargs: Mapping[str, Any]) -> None:
        servers = client_kwargs["bootstrap_servers"]
        self._servers = servers if isinstance(servers, str) else ",".join(servers)
        self._client_kwargs = {**client_kwargs, "client_id": "mailtopic-sender-monitor"}
        self._state = StateLog(get_logger(__name__).bind(servers=self._servers), "broker")
        self._diagnosis = Diagnosis(self._client_kwargs)
        self._admin: AIOKafkaAdminClient | None = None

    @property
    def answers(self) -> bool:
        """Whether Kafka was reachable and accepted records at the last check."""
        return self._state.is_up

    @property
    def problem(self) -> str | None:
        """The problem, as text; None while a broker answers."""
        if self._state.is_up:
            return None
        return f"Kafka at {self._servers}: {self._state.reason or 'not asked yet'}"

    async def watch(self) -> None:
        """Check until cancelled."""
        try:
            while True:
                await self._ask()
                await asyncio.sleep(_WHILE_UP_S if self._state.is_up else _WHILE_DOWN_S)
        finally:
            await self._hang_up()

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout(_ANSWER_S):
                if self._admin is None:
                    self._admin = AIOKafkaAdminClient(**self._client_kwargs)
                    await self._admin.start()
                await self._admin.describe_cluster()
                problem = await self._refusal(self._admin)
                if self.topics is not None and problem is None:
                    await self.topics.look(self._admin)
        except (errors.KafkaError, OSError, TimeoutError):
            self._state.down(await self._diagnosis.reason())
        else:
            if problem is None:
                self._state.up()
            else:
                self._state.down(problem)
            return
        await self._hang_up()

    async def _refusal(self, admin: AIOKafkaAdminClient) -> str | None:
        """Why outcomes can't be recorded, as text; None if they can."""
        topic = self.outcomes_topic
        if topic is None:
            return None
        found = await admin.describe_topics([topic])
        partitions = [partition for one in found for partition in one["partitions"]]
        least = await self._least_replicas(admin, topic)
        if any(partition["leader"] < 0 for partition in partitions):
            return f"a partition of {topic} has no leader"
        if any(len(partition["isr"]) < least for partition in partitions):
            return f"a partition of {topic} has fewer than {least} replicas in sync"
        return None

    async def _least_replicas(self, admin: AIOKafkaAdminClient, topic: str) -> int:
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, {_LEAST_REPLICAS: None})
        for answer in await admin.describe_configs([resource]):
            for code, _, _, _, entries in answer.resources:
                values = [entry[1] for entry in entries if entry[0] == _LEAST_REPLICAS]
                if not code and values:
                    return int(values[0])
        return 1  # this request may not be permitted

    async def _hang_up(self) -> None:
        admin, self._admin = self._admin, None
        if admin is not None:
            with suppress(errors.KafkaError, OSError):
                await admin.close()


def silence_client_logs(level: str) -> None:
    """Keep the Kafka libraries' own lines out of the log, except at debug level.

    They write several lines a second while a broker is down, some with tracebacks. Their own debug
    lines are never shown: those hold whole responses, including records.
    """
    is_debug = level == "debug"
    logging.getLogger("aiokafka").setLevel(logging.INFO if is_debug else logging.CRITICAL + 1)
    logging.getLogger("mailtopic_client").setLevel(logging.INFO if is_debug else logging.ERROR)
