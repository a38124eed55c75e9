"""Decisions about the operator's own kinds: only what differs between them."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from pydantic import ValidationError

from mailtopic_operator.domain.actions import Plan
from mailtopic_operator.domain.defaults import OperatorDefaults
from mailtopic_operator.domain.desired import Desired
from mailtopic_operator.domain.observed import Observed
from mailtopic_operator.domain.replay_planning import plan_invalid_replay, plan_replay
from mailtopic_operator.domain.replays import DesiredReplay
from mailtopic_operator.engine.observer import Observer
from mailtopic_operator.engine.replay_observer import ReplayObserver
from mailtopic_operator.engine.store import Key, Store
from mailtopic_operator.engine.work import Wanted
from mailtopic_operator.kinds import MAIL_TOPIC

Decide = Callable[[datetime], Plan]
"""Plans what to do about one observed resource."""


class Planner(Protocol):
    """Decides about MailTopics; domain.planning, or a test's own."""

    def plan(self, desired: Desired, observed: Observed, now: datetime) -> Plan:
        """Return what to do about a MailTopic."""
        ...

    def plan_invalid(self, body: Mapping[str, Any], problem: str, now: datetime) -> Plan:
        """Return what to do about one that can't be parsed."""
        ...


class Decider(Protocol):
    """Decides about the resources of one kind."""

    def parse(self, body: Mapping[str, Any]) -> Wanted:
        """Return what a resource asks for.

        Raises:
            pydantic.ValidationError: it can't be parsed.
        """
        ...

    async def observe(self, batch: Mapping[Key, Wanted]) -> Mapping[Key, Decide]:
        """Observe everything that concerns a batch; return the Decide of each resource.

        Raises:
            KubeError: the API server didn't answer, or refused.
        """
        ...

    def plan_invalid(self, body: Mapping[str, Any], problem: str, now: datetime) -> Plan:
        """Return what to do about a resource that can't be parsed."""
        ...


class TopicDecider:
    """`Decider` of MailTopics."""

    def __init__(self, planner: Planner, observer: Observer, defaults: OperatorDefaults) -> None:
        self._planner = planner
        self._observer = observer
        self._defaults = defaults

    def parse(self, body: Mapping[str, Any]) -> Desired:
        """Return what a MailTopic asks for."""
        return Desired.parse(body, self._defaults)

    async def observe(self, batch: Mapping[Key, Wanted]) -> Mapping[Key, Decide]:
        """Observe topics, children and all that they need."""
        topics = {key: each for key, each in batch.items() if isinstance(each, Desired)}
        observed = await self._observer.observe(topics)
        return {
            key: partial(self._planner.plan, desired, observed[key])
            for key, desired in topics.items()
        }

    def plan_invalid(self, body: Mapping[str, Any], problem: str, now: datetime) -> Plan:
        """Return what to do about a MailTopic that can't be parsed."""
        return self._planner.plan_invalid(body, problem, now)


class ReplayDecider:
    """`Decider` of MailReplays."""

    def __init__(self, observer: ReplayObserver, store: Store, defaults: OperatorDefaults) -> None:
        self._observer = observer
        self._store = store
        self._defaults = defaults

    def parse(self, body: Mapping[str, Any]) -> DesiredReplay:
        """Return what a MailReplay asks for, with the MailTopic that it names."""
        desired = DesiredReplay.parse(body, None)
        name, namespace = desired.spec.mail_topic_ref.name, desired.meta.namespace
        topic = self._store.get(MAIL_TOPIC.kind, namespace, name)
        try:
            known = Desired.parse(topic, self._defaults) if topic is not None else None
        except ValidationError:
            return desired  # treated as missing; its own reconcile reports why
        return DesiredReplay(desired.meta, desired.spec, desired.status, known)

    async def observe(self, batch: Mapping[Key, Wanted]) -> Mapping[Key, Decide]:
        """Observe Jobs and their pods."""
        replays = {key: each for key, each in batch.items() if isinstance(each, DesiredReplay)}
        observed = await self._observer.observe(replays)
        return {
            key: partial(plan_replay, desired, observed[key]) for key, desired in replays.items()
        }

    def plan_invalid(self, body: Mapping[str, Any], problem: str, now: datetime) -> Plan:
        """Return what to do about a MailReplay that can't be parsed."""
        return plan_invalid_replay(body, problem, now)
