"""Watches the topics of a MailTopic while a sender runs: reports problems, repairs what it may.

When the main topic gets more partitions, its satellites get as many. What the broker doesn't allow
is logged once, and tried again.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import errors
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.coordination import FindCoordinatorRequest

from mailtopic_client.adapters.kafka_words import describe_refusal
from mailtopic_contract import TopicNames
from mailtopic_runtime import StateLog, get_logger
from mailtopic_sender.adapters.kafka_topics import KafkaTopics
from mailtopic_sender.adapters.topic_states import TopicState, TopicStates

_GROUP = 0
"""A group's coordinator, not a transaction's (FindCoordinator)."""


class TopicWatch:
    """The topics and groups of one MailTopic.

    Args:
        names: the topics.
        topics: grows satellites.
        states: the brokers' metadata about the topics.
        groups: the consumer groups, each of which needs a coordinator.
    """

    def __init__(
        self, names: TopicNames, topics: KafkaTopics, states: TopicStates, groups: Sequence[str]
    ) -> None:
        self._names = names
        self._topics = topics
        self._states = states
        self._groups = groups
        self._problems: dict[tuple[str, str], StateLog] = {}
        self._absent: set[str] = set()

    @property
    def problem(self) -> str | None:
        """The problem, as text; None while all is well."""
        reasons = (state.reason for state in self._problems.values())
        return next((reason for reason in reasons if reason), None)

    def served(self) -> int | None:
        """How many partitions all existing satellites have; None while unknown.

        A missing satellite holds up only what needs it.
        """
        states = [self._states.current.get(name) for name in self._names.all[1:]]
        counts = [state.partitions for state in states if state is not None and state.partitions]
        return min(counts, default=None)

    async def look(self, admin: AIOKafkaAdminClient) -> None:
        """Check once, and repair.

        Raises:
            KafkaError: no broker answers.
        """
        client = admin._client  # noqa: SLF001 - it has no request for topic ids itself
        states = await self._states.ask(client)
        found = {name: state.partitions for name, state in states.items() if state.partitions}
        problems = {name: _trouble(name, states[name]) for name in self._names.all}
        main = self._names.main
        if problems[main] is None and main in found:
            refusal = await self._grow(admin, found)
            if refusal is not None:
                for name in self._names.all:
                    problems[name] = problems[name] or self._shortage(name, found, refusal)
        self._say("topic", problems)
        self._say(
            "group", {each: await self._without_coordinator(client, each) for each in self._groups}
        )

    async def _grow(self, admin: AIOKafkaAdminClient, found: Mapping[str, int]) -> str | None:
        """Grow satellites that have too few partitions; return why that isn't possible."""
        if min(found.values()) >= found[self._names.main]:
            return None
        try:
            await self._topics.grow(admin, found)
        except errors.KafkaError as error:
            # Only the code if there is no description: it may be the broker's own text.
            return describe_refusal(error) or type(error).__name__
        await self._states.ask(admin._client)  # noqa: SLF001 - see `look`
        return None

    def _shortage(self, name: str, found: Mapping[str, int], refusal: str) -> str | None:
        main, wanted = self._names.main, found[self._names.main]
        has = found.get(name, wanted)
        if has >= wanted:
            return None
        return (
            f"the topic {name} has {has} partitions and {main} has {wanted}: mails of the "
            f"partitions from {has} on wait; grant Alter on {name}, or give it {wanted} "
            f"partitions ({refusal})"
        )

    async def _without_coordinator(self, client: Any, group: str) -> str | None:
        try:
            request = FindCoordinatorRequest(group, _GROUP)
            answer = await client.send(client.get_random_node(), request)
        except (errors.KafkaError, OSError):
            return None  # whether brokers answer is reported elsewhere
        error = errors.for_code(answer.error_code)
        was_absent = group in self._absent
        self._absent.discard(group)
        if error is errors.NoError:
            return None
        if issubclass(error, errors.GroupCoordinatorNotAvailableError):
            self._absent.add(group)
            if not was_absent:
                return None  # a new cluster creates __consumer_offsets at the first request
        return describe_refusal(error(), group=group) or f"the group {group}: {error.__name__}"

    def _say(self, kind: str, problems: Mapping[str, str | None]) -> None:
        for name, reason in problems.items():
            state = self._problems.get((kind, name))
            if state is None:
                log = get_logger(__name__).bind(**{kind: name})
                state = self._problems[kind, name] = StateLog(log, kind)
            if reason is None:
                state.up()
            else:
                state.down(reason)


def _trouble(name: str, state: TopicState) -> str | None:
    if state.is_missing:
        return f"the topic {name} does not exist: create it, or restart a sender, which does"
    error = errors.for_code(state.error_code)
    if error is errors.NoError or issubclass(error, errors.LeaderNotAvailableError):
        return None
    return describe_refusal(error(), topic=name) or f"the topic {name}: {error.__name__}"
