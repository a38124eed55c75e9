"""How relays are, as the senders find it: asked now and then, and never waited for."""

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from mailtopic_operator.domain.children.common import NAME_LABEL, SENDER_NAME
from mailtopic_operator.domain.children.family import deployment_ref
from mailtopic_operator.domain.desired import Desired
from mailtopic_operator.domain.observed import RelayHealth, RelayReading
from mailtopic_operator.domain.relay_paces import steady
from mailtopic_operator.engine.store import Key, Store
from mailtopic_operator.kinds import MAIL_TOPIC, OWNER_LABEL, POD
from mailtopic_operator.ports import Objects, SenderMetrics

_METRICS: Final = "metrics"
"""The name of the port that a sender shows its metrics at."""

_MOST: Final = 20
"""Senders of one MailTopic that are asked: what so many find, the others find as well."""

_AT_ONCE: Final = 16
_SAMPLES: Final = 3
"""Of a learned rate, before it is believed."""
_OPEN: Final = "every sender's breaker is open: it takes no mails, or refuses logins"


class RelaySampler:
    """Samples what senders say of their relays. It decides nothing about a MailTopic's mails."""

    def __init__(self, objects: Objects, metrics: SenderMetrics, store: Store) -> None:
        self._objects = objects
        self._metrics = metrics
        self._store = store
        self._found: dict[Key, tuple[RelayHealth, ...]] = {}
        self._recent: dict[tuple[Key, str], deque[float]] = {}
        self._limit = asyncio.Semaphore(_AT_ONCE)

    def of(self, key: Key) -> tuple[RelayHealth, ...]:
        """Return what was found of a MailTopic's relays; empty if no sender has told."""
        return self._found.get(key, ())

    def forget(self, key: Key) -> None:
        """Let go of a MailTopic that is no more."""
        self._found.pop(key, None)
        self._recent = {each: rates for each, rates in self._recent.items() if each[0] != key}

    async def sample(self, batch: Mapping[Key, Desired]) -> set[Key]:
        """Ask the senders of all these; return those of whose relays something else is known now.

        Raises:
            KubeError: the API server doesn't tell which pods there are.
        """
        running = {key: each for key, each in batch.items() if self._has_senders(key, each)}
        addresses = await self._addresses({key.namespace for key in running})
        found = await asyncio.gather(
            *(self._ask(each, addresses.get(key, ())) for key, each in running.items())
        )
        healths = dict.fromkeys(batch, ()) | {
            key: tuple(self._settled(key, health) for health in each)
            for key, each in zip(running, found, strict=True)
        }
        changed = {key for key, health in healths.items() if health != self.of(key)}
        self._found.update({key: healths[key] for key in changed})
        return changed

    def _has_senders(self, key: Key, desired: Desired) -> bool:
        ref = deployment_ref(desired)
        live = self._store.get(ref.kind, key.namespace, ref.name)
        return bool(live and (live.get("status") or {}).get("replicas"))

    async def _addresses(self, namespaces: Iterable[str]) -> Mapping[Key, list[tuple[str, int]]]:
        """Return where the senders of each MailTopic show their metrics."""
        found: dict[Key, list[tuple[str, int]]] = {}
        for namespace in sorted(namespaces):
            for pod in await self._objects.select(POD.kind, namespace, {NAME_LABEL: SENDER_NAME}):
                owner = pod["metadata"].get("labels", {}).get(OWNER_LABEL)
                address = _address(pod)
                if owner and address is not None:
                    found.setdefault(Key(MAIL_TOPIC.kind, namespace, owner), []).append(address)
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
        """The same with a rate that is at rest: the median of some, while it says about the same.

        So a figure that changes a little is no news, and one that is odd once isn't either.
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
    """Return how the relays of the spec are, by what each sender says of them.

    A pace is known where every sender that was asked has met a limit, or none has: a sender that
    hasn't may be idle, and may be about to take more.

    Args:
        desired: the MailTopic.
        answers: of each sender that was asked: by relay; None: it didn't tell.
        senders: how many there are, those included that were not asked.
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


def _address(pod: Mapping[str, Any]) -> tuple[str, int] | None:
    """Return where a pod that runs shows its metrics."""
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
