"""Whether relays take mails, as the senders find it: asked now and then, and never waited for."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from mailtopic_operator.domain.children.common import NAME_LABEL, SENDER_NAME
from mailtopic_operator.domain.children.family import deployment_ref
from mailtopic_operator.domain.desired import Desired
from mailtopic_operator.domain.observed import RelayHealth
from mailtopic_operator.engine.store import Key, Store
from mailtopic_operator.kinds import MAIL_TOPIC, OWNER_LABEL, POD
from mailtopic_operator.ports import Objects, SenderMetrics

_METRICS: Final = "metrics"
"""The name of the port that a sender shows its metrics at."""

_MOST: Final = 20
"""Senders of one MailTopic that are asked: what so many find, the others find as well."""

_AT_ONCE: Final = 16
_OPEN: Final = "every sender's breaker is open: it takes no mails, or refuses logins"


class RelaySampler:
    """Samples what senders say of their relays. It decides nothing about a MailTopic's mails."""

    def __init__(self, objects: Objects, metrics: SenderMetrics, store: Store) -> None:
        self._objects = objects
        self._metrics = metrics
        self._store = store
        self._found: dict[Key, tuple[RelayHealth, ...]] = {}
        self._limit = asyncio.Semaphore(_AT_ONCE)

    def of(self, key: Key) -> tuple[RelayHealth, ...]:
        """Return what was found of a MailTopic's relays; empty if no sender has told."""
        return self._found.get(key, ())

    def forget(self, key: Key) -> None:
        """Let go of a MailTopic that is no more."""
        self._found.pop(key, None)

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
        healths = dict.fromkeys(batch, ()) | dict(zip(running, found, strict=True))
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
        return judge_relays(desired, [answer for answer in answers if answer is not None])

    async def _ask_one(self, address: tuple[str, int]) -> Mapping[str, bool] | None:
        async with self._limit:
            return await self._metrics.breakers(*address)


def judge_relays(
    desired: Desired, answers: Sequence[Mapping[str, bool]]
) -> tuple[RelayHealth, ...]:
    """Return how the relays of the spec are, by what each sender says of its breakers.

    Args:
        desired: the MailTopic.
        answers: of each sender that told: by relay, whether its breaker is open.
    """
    known: list[RelayHealth] = []
    for relay in desired.spec.relays:
        told = [answer[relay.name] for answer in answers if relay.name in answer]
        if told:
            is_healthy = not all(told)
            known.append(RelayHealth(relay.name, is_healthy, "" if is_healthy else _OPEN))
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
