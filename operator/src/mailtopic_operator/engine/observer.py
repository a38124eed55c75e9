"""Observes everything that concerns a batch, with as few requests as possible."""

import asyncio
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Final

from mailtopic_operator.domain.desired import Desired
from mailtopic_operator.domain.kafka import KafkaProblem, ProblemKind, TopicState, UserState
from mailtopic_operator.domain.observed import ChildRef, DataObject, Observed, data_object
from mailtopic_operator.engine.backlog import BacklogSampler
from mailtopic_operator.engine.claims import Claims
from mailtopic_operator.engine.endings import Endings
from mailtopic_operator.engine.failures import Failures
from mailtopic_operator.engine.own_writes import OwnWrites
from mailtopic_operator.engine.sender_sampler import SenderSampler
from mailtopic_operator.engine.store import Key, Store
from mailtopic_operator.errors import KubeError, KubeNotFound, KubeUnavailable
from mailtopic_operator.kinds import OPTIONAL_KINDS
from mailtopic_operator.ports import Apis, KafkaAdmin, KafkaUsers, Objects
from mailtopic_runtime import Clock

_FRESH_S: Final = 5.0
"""Seconds for which a Secret or ConfigMap that several MailTopics name isn't read again.

One that was absent, unreadable or without a label is read again for each batch: a waiting MailTopic
is reconciled because it may exist now.
"""
_APIS_S: Final = 60.0

_Reference = tuple[str, str, str]
_Data = Mapping[_Reference, DataObject | None]


class Observer:
    """Observes MailTopics; children come from the store, everything else is requested.

    Raises KubeUnavailable if the API server doesn't answer; Kafka's absence is part of the result.
    """

    def __init__(
        self,
        *,
        admin: KafkaAdmin,
        users: KafkaUsers | None,
        objects: Objects,
        apis: Apis,
        store: Store,
        claims: Claims,
        failures: Failures,
        writes: OwnWrites,
        backlog: BacklogSampler,
        senders: SenderSampler,
        endings: Endings,
        clock: Clock,
        concurrency: int,
    ) -> None:
        self._admin = admin
        self._users = users
        self._objects = objects
        self._apis = apis
        self._store = store
        self._claims = claims
        self._failures = failures
        self._writes = writes
        self._backlog = backlog
        self._senders = senders
        self._endings = endings
        self._clock = clock
        self._limit = asyncio.Semaphore(concurrency)
        self._fresh: dict[_Reference, tuple[float, DataObject]] = {}
        self._served: tuple[float, frozenset[str]] | None = None

    async def observe(self, batch: Mapping[Key, Desired]) -> dict[Key, Observed]:
        """Return the observed state of each MailTopic of a batch."""
        names = {name for desired in batch.values() for name in desired.topics}
        topics = await self._admin.describe(names) if names else {}
        self._backlog.notice(topics)
        users = await self._describe_users(batch, topics)
        apis = await self.served()
        data = await self._read_data(batch)
        ending = {key: each for key, each in batch.items() if each.meta.deleting_since is not None}
        if ending:
            await self._backlog.sample(ending)
        terminating = await self._endings.among(batch)
        return {
            key: self._of(
                key,
                desired,
                topics=topics,
                users=users,
                apis=apis,
                data=data,
                terminating=terminating,
            )
            for key, desired in batch.items()
        }

    async def describe(self, topics: Collection[str]) -> Mapping[str, TopicState | KafkaProblem]:
        """Describe some topics again."""
        return await self._admin.describe(topics)

    async def served(self) -> frozenset[str]:
        """Return the optional kinds that the API server serves."""
        now_s = self._clock.monotonic_s()
        if self._served is None or now_s - self._served[0] > _APIS_S:
            found = [kind for kind in OPTIONAL_KINDS if await self._apis.serves(kind)]
            self._served = (now_s, frozenset(found))
        return self._served[1]

    def _of(
        self,
        key: Key,
        desired: Desired,
        *,
        topics: Mapping[str, TopicState | KafkaProblem],
        users: Mapping[str, UserState | KafkaProblem],
        apis: frozenset[str],
        data: _Data,
        terminating: frozenset[str],
    ) -> Observed:
        backlog = self._backlog.of(key)
        meta = {"uid": desired.meta.uid, "namespace": key.namespace, "name": key.name}
        return Observed(
            topics={name: topics[name] for name in desired.topics if name in topics},
            kafka_users={name: users[name] for name in desired.kafka_users if name in users},
            children={
                ChildRef(item["apiVersion"], kind, item["metadata"]["name"]): item
                for kind, item in self._store.children({"metadata": meta})
            },
            apis=apis,
            secrets=_named(data, "Secret", key.namespace, desired.secrets),
            config_maps=_named(data, "ConfigMap", key.namespace, desired.config_maps),
            claimants=self._claims.against(key),
            lag=backlog.lag,
            dead_letters=backlog.dead_letters,
            relays=self._senders.of(key),
            pod_trouble=self._senders.trouble(key),
            failures=self._failures.of(key),
            admitted=self._writes.admitted(key),
            held=self._writes.held(key, datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC)),
            is_namespace_terminating=key.namespace in terminating,
        )

    async def _describe_users(
        self, batch: Mapping[Key, Desired], topics: Mapping[str, TopicState | KafkaProblem]
    ) -> Mapping[str, UserState | KafkaProblem]:
        names = {name for desired in batch.values() for name in desired.kafka_users}
        for answer in topics.values():
            if isinstance(answer, KafkaProblem) and answer.kind is ProblemKind.UNAVAILABLE:
                return dict.fromkeys(names, answer)  # another timeout would show nothing new
        return await self._users.describe(names) if self._users is not None and names else {}

    async def _read_data(self, batch: Mapping[Key, Desired]) -> _Data:
        """Return every Secret and ConfigMap that a batch names; None for an absent one."""
        wanted = {
            (kind, key.namespace, name)
            for key, desired in batch.items()
            for kind, names in (("Secret", desired.secrets), ("ConfigMap", desired.config_maps))
            for name in names
        }
        now_s = self._clock.monotonic_s()
        self._fresh = {
            each: seen for each, seen in self._fresh.items() if seen[0] > now_s - _FRESH_S
        }
        data: dict[_Reference, DataObject | None] = {
            each: self._fresh[each][1] for each in wanted & self._fresh.keys()
        }
        missing = sorted(wanted - data.keys())
        data.update(zip(missing, await asyncio.gather(*map(self._read, missing)), strict=True))
        return data

    async def _read(self, reference: _Reference) -> DataObject | None:
        kind, namespace, name = reference
        try:
            async with self._limit:
                item = await self._objects.read(kind, namespace, name)
        except KubeNotFound:
            return None
        except KubeUnavailable:
            raise
        except KubeError:
            # An unreadable object is treated as absent: the condition names it.
            return None
        found = data_object(kind, item)
        if found.use or kind != "Secret":
            self._fresh[reference] = (self._clock.monotonic_s(), found)
        return found


def _named(
    data: _Data, kind: str, namespace: str, names: Collection[str]
) -> Mapping[str, DataObject]:
    found = {name: data[kind, namespace, name] for name in names}
    return {name: each for name, each in found.items() if each is not None}
