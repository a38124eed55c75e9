"""Which topics exist now, and whether they are still the same ones."""

import asyncio
import base64
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka import errors

from mailtopic_sender.adapters.kafka_metadata import TopicsRequest

_UNKNOWN_TOPIC = 3
_OURS = re.compile(r"(v[0-9]+\|[^|]*\|[0-9]+(?:\|[^|]*)?)\|([A-Za-z0-9_-]{22})")
_ANSWER_S = 1.0
"""For each broker; one that hangs must not make the others appear down."""


class TopicState(NamedTuple):
    """A topic as the brokers describe it.

    Attributes:
        error_code: of the Kafka protocol; 0 for a topic that can be used.
        partitions: how many there are.
        topic_id: distinguishes a topic from a former one with the same name (KIP-516), as 22
            characters of base64; None while the brokers don't agree on it.
    """

    error_code: int
    partitions: int = 0
    topic_id: str | None = None

    @property
    def is_missing(self) -> bool:
        """Whether the topic doesn't exist."""
        return self.error_code == _UNKNOWN_TOPIC


class TopicStates:
    """The brokers' last metadata about some topics.

    Every live broker is queried, because one that lags behind still lists a deleted topic: an id
    counts only if all of them agree. Brokers before Kafka 2.8 have no ids; then a replaced topic is
    never detected.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = list(names)
        self._asking = asyncio.Lock()
        self._former: set[str] = set()
        self.current: Mapping[str, TopicState] = {}

    async def ask(self, client: Any) -> Mapping[str, TopicState]:
        """Query through a connected aiokafka client; return the new `current`.

        Raises:
            KafkaError: no broker answers.
        """
        async with self._asking:
            await client.force_metadata_update()
            nodes = [broker.nodeId for broker in client.cluster.brokers()]
            # One after the other: the client opens its connections sequentially anyway.
            answers = [await self._answer(client, node) for node in nodes]
            heard = [answer for answer in answers if answer is not None]
            if not heard:
                raise errors.KafkaConnectionError("no broker answers")
            self.current = {
                name: self._agreed([each[name] for each in heard if name in each])
                for name in self._names
            }
        return self.current

    def replaced(self, topic: str, known_id: str | None) -> bool:
        """Whether the topic isn't the one that had this id."""
        state = self.current.get(topic)
        if known_id is None or state is None or state.topic_id in {None, known_id}:
            return False
        self._former.add(known_id)
        return True

    async def _answer(self, client: Any, node: int) -> dict[str, TopicState] | None:
        try:
            async with asyncio.timeout(_ANSWER_S):
                response = await client.send(node, TopicsRequest(self._names))
        except NotImplementedError:  # aiokafka's error for a broker without this version
            return {}
        except (errors.KafkaError, OSError, TimeoutError):
            return None
        return {
            name: TopicState(error_code, len(partitions or ()), _text(topic_id))
            for error_code, name, topic_id, _, partitions, *_ in response.topics
        }

    def _agreed(self, states: Sequence[TopicState]) -> TopicState:
        if not states:
            return TopicState(0)
        worst = max(states, key=lambda state: state.error_code)
        ids = {state.topic_id for state in states}
        topic_id = ids.pop() if len(ids) == 1 else None
        return TopicState(
            worst.error_code,
            min(state.partitions for state in states),
            # An id is never reused: a broker that reports it lags behind.
            None if topic_id in self._former else topic_id,
        )


def _text(topic_id: bytes) -> str | None:
    return base64.urlsafe_b64encode(topic_id).rstrip(b"=").decode() if any(topic_id) else None


def with_topic_id(metadata: str, topic_id: str | None) -> str:
    """Return commit metadata that says which topic it is about."""
    return metadata if topic_id is None else f"{metadata}|{topic_id}"


def without_topic_id(metadata: str) -> tuple[str, str | None]:
    """Split commit metadata; versions up to 0.1 committed no topic id."""
    ours = _OURS.fullmatch(metadata)
    return (ours[1], ours[2]) if ours else (metadata, None)
