"""Which MailTopics use which Kafka topics."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from mailtopic_operator.domain.defaults import OperatorDefaults
from mailtopic_operator.domain.desired import Desired
from mailtopic_operator.domain.naming import name_problem
from mailtopic_operator.domain.observed import Claimant
from mailtopic_operator.engine.store import Key


class Claims:
    """Every MailTopic's topics, and every topic's MailTopics."""

    def __init__(self) -> None:
        self._claims: dict[Key, Claimant] = {}
        self._users: dict[str, set[Key]] = {}

    def put(self, key: Key, body: Mapping[str, Any], defaults: OperatorDefaults) -> set[Key]:
        """Add or update a MailTopic; return the others that this affects."""
        try:
            desired = Desired.parse(body, defaults)
        except ValidationError:
            return self.drop(key)
        if name_problem(desired) is not None:
            # A topic that it may not use can't be withheld from others.
            return self.drop(key)
        meta, topics = desired.meta, frozenset(desired.names.all)
        claim = Claimant(meta.namespace, meta.name, meta.uid, meta.created_at, topics)
        known = self._claims.get(key)
        if known == claim:
            return set()
        concerned = self.drop(key)
        self._claims[key] = claim
        for topic in topics:
            self._users.setdefault(topic, set()).add(key)
        return concerned | self._others(key, topics)

    def drop(self, key: Key) -> set[Key]:
        """Forget a MailTopic; return the others that this affects."""
        known = self._claims.pop(key, None)
        if known is None:
            return set()
        for topic in known.topics:
            users = self._users[topic]
            users.discard(key)
            if not users:
                del self._users[topic]
        return self._others(key, known.topics)

    def against(self, key: Key) -> tuple[Claimant, ...]:
        """Return the other MailTopics that use one of the same topics."""
        known = self._claims.get(key)
        if known is None:
            return ()
        return tuple(self._claims[other] for other in sorted(self._others(key, known.topics)))

    @property
    def topics(self) -> int:
        """Count the topics in use."""
        return len(self._users)

    def _others(self, key: Key, topics: frozenset[str]) -> set[Key]:
        return {user for topic in topics for user in self._users.get(topic, ())} - {key}
