"""The senders' pods, and the relays' state at them: sampled periodically, never waited for."""

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from mailtopic_operator.domain.children.common import NAME_LABEL, SENDER_NAME
from mailtopic_operator.domain.children.family import deployment_ref
from mailtopic_operator.domain.desired import Desired
from mailtopic_operator.domain.observed import RelayHealth, RelayReading
from mailtopic_operator.domain.pod_trouble import PodTrouble, pod_trouble
from mailtopic_operator.domain.relay_paces import steady
from mailtopic_operator.engine.store import Json, Key, Store
from mailtopic_operator.kinds import MAIL_TOPIC, OWNER_LABEL, POD
from mailtopic_operator.ports import Objects, SenderMetrics

_METRICS: Final = "metrics"
"""The name of a sender's metrics port."""

_MOST: Final = 20
"""The most senders of one MailTopic to query: the others will find the same."""

_AT_ONCE: Final = 16
_SAMPLES: Final = 3
"""Samples of a learned rate before it is used."""
_OPEN: Final = "every sender's breaker is open: it takes no mails, or refuses logins"


class SenderSampler:
    """Samples why pods don't run, and the senders' view of their relays; it decides nothing."""

    def __init__(self, objects: Objects, metrics: SenderMetrics, store: Store) -> None:
        self._objects = objects
        self._metrics = metrics
        self._store = store
        self._found: dict[Key, tuple[RelayHealth, ...]] = {}
        self._recent: dict[tuple[Key, str], deque[float]] = {}
        self._troubles: dict[Key, PodTrouble] = {}
        self._limit = asyncio.Semaphore(_AT_ONCE)

    def trouble(self, key: Key) -> PodTrouble | None:
        """Return what keeps a MailTopic's senders from running; None if that isn't known."""
        return self._troubles.get(key)

    def of(self, key: Key) -> tuple[RelayHealth, ...]:
        """Return the health of a MailTopic's relays; empty if no sender has answered."""
        return self._found.get(key, ())

    def forget(self, key: Key) -> None:
        """Forget a deleted MailTopic."""
        self._found.pop(key, None)
        self._troubles.pop(key, None)
        self._recent = {each: rates for each, rates in self._recent.items() if each[0] != key}

    async def sample(self, batch: Mapping[Key, Desired]) -> set[Key]:
        """Look at the senders of all these; return the MailTopics for which there is news.

        Raises:
            KubeError: the API server doesn't list the pods.
        """
        running = {key: each for key, each in batch.items() if self._has_senders(key, each)}
        pods = await self._pods({key.namespace for key in running})
        news = self._take_troubles({key: pod_trouble(pods.get(key, ())) for key in batch})
        found = await asyncio.gather(
            *(self._ask(each, _addresses(pods.get(key, ()))) for key, each in running.items())
        )
        healths = dict.fromkeys(batch, ()) | {
            key: tuple(self._settled(key, health) for health in each)
            for key, each in zip(running, found, strict=True)
        }
        changed = {key for key, health in healths.items() if health != self.of(key)}
        self._found.update({key: healths[key] for key in changed})
        return changed | news

    def _take_troubles(self, troubles: Mapping[Key, PodTrouble | None]) -> set[Key]:
        """Remember troubles; return the MailTopics with another one.

        Kubernetes words the same trouble of a pod in several ways, in turns: the first one stays.
        """
        before = {key: _identity(self._troubles.get(key)) for key in troubles}
        news = {key for key, each in troubles.items() if _identity(each) != before[key]}
        for key in news:
            trouble = troubles[key]
            if trouble is None:
                del self._troubles[key]
            else:
                self._troubles[key] = trouble
        return news

    def _has_senders(self, key: Key, desired: Desired) -> bool:
        ref = deployment_ref(desired)
        live = self._store.get(ref.kind, key.namespace, ref.name)
        return bool(live and (live.get("status") or {}).get("replicas"))

    async def _pods(self, namespaces: Iterable[str]) -> Mapping[Key, list[Json]]:
        """Return each MailTopic's pods."""
        found: dict[Key, list[Json]] = {}
        for namespace in sorted(namespaces):
            for pod in await self._objects.select(POD.kind, namespace, {NAME_LABEL: SENDER_NAME}):
                owner = pod["metadata"].get("labels", {}).get(OWNER_LABEL)
                if owner:
                    found.setdefault(Key(MAIL_TOPIC.kind, namespace, owner), []).append(pod)
        return found

    async def _ask(
        self, desired: Desired, addresses: Sequence[tuple[str, int]]
    ) -> tuple[RelayHealth, ...]:
        answers = await asyncio.gather(*(self._ask_one(each) for each in addresses[:_MOST]))
        return judge_relays(desired, answers, senders=len(addresses))

    async def _ask_one(self, address: tuple[str, int]) -> Mapping[str, RelayReading] | None:
        async with self._limit:
            return await self._metrics.relays(*address)

    def _settled(self, key: Key, health: RelayHealth) -> RelayHealth:
        """Return it with a stable rate: the median of samples, kept while it hardly changes.

        So neither a small change nor a single outlier is news.
        """
        if not health.is_pace_known:
            return self._as_before(key, health)
        recent = self._recent.setdefault((key, health.name), deque(maxlen=_SAMPLES))
        if health.learned_per_s is None:
            recent.clear()
            return health
        recent.append(health.learned_per_s)
        before = self._as_before(key, health)
        if len(recent) < _SAMPLES:
            return before
        return replace(health, learned_per_s=steady(before.learned_per_s, sorted(recent)[1]))

    def _as_before(self, key: Key, health: RelayHealth) -> RelayHealth:
        for old in self.of(key):
            if old.name == health.name:
                pace = {"learned_per_s": old.learned_per_s, "is_pace_known": old.is_pace_known}
                return replace(health, **pace)  # type: ignore[arg-type] # mypy joins the values
        return replace(health, learned_per_s=None, is_pace_known=False)


def judge_relays(
    desired: Desired, answers: Sequence[Mapping[str, RelayReading] | None], *, senders: int
) -> tuple[RelayHealth, ...]:
    """Return the health of the spec's relays, from each sender's readings.

    A pace is known if every queried sender has met a limit, or none has: a sender that hasn't may
    be idle, and may be about to take more.

    Args:
        desired: the MailTopic.
        answers: of each queried sender, by relay; None: no answer.
        senders: how many there are, including those that weren't queried.
    """
    known: list[RelayHealth] = []
    for relay in desired.spec.relays:
        told = [answer[relay.name] for answer in answers if answer and relay.name in answer]
        if not told:
            continue
        is_healthy = not all(reading.is_open for reading in told)
        rates = [reading.learned_per_s for reading in told]
        met = [rate for rate in rates if rate is not None]
        is_known = len(told) == len(answers) and len(met) in {0, len(rates)}
        known.append(
            RelayHealth(
                relay.name,
                is_healthy,
                "" if is_healthy else _OPEN,
                sum(met) * senders / len(told) if is_known and met else None,
                is_known,
            )
        )
    return tuple(known)


def _identity(trouble: PodTrouble | None) -> tuple[str, str] | None:
    return None if trouble is None else (trouble.pod, trouble.reason)


def _addresses(pods: Iterable[Json]) -> list[tuple[str, int]]:
    """Return the metrics addresses of the pods that run."""
    return [address for pod in pods if (address := _address(pod)) is not None]


def _address(pod: Mapping[str, Any]) -> tuple[str, int] | None:
    """Return the metrics address of a running pod; None if there is none."""
    status = pod.get("status") or {}
    if status.get("phase") != "Running" or "deletionTimestamp" in pod["metadata"]:
        return None
    ports = [
        port["containerPort"]
        for container in pod["spec"]["containers"]
        for port in container.get("ports") or ()
        if port.get("name") == _METRICS
    ]
    return (status["podIP"], ports[0]) if ports and status.get("podIP") else None
