"""Which MailReplays are about which MailTopic."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from mailtopic_operator.engine.store import Key
from mailtopic_operator.kinds import MAIL_TOPIC
from mailtopic_operator.model.mailreplay import MailReplaySpec


class ReplayIndex:
    """Every MailReplay by the MailTopic that it names, whether that exists or not."""

    def __init__(self) -> None:
        self._topics: dict[Key, Key] = {}
        self._replays: dict[Key, set[Key]] = {}

    def put(self, key: Key, body: Mapping[str, Any] | None) -> set[Key]:
        """Update a MailReplay (None: it was deleted); return the others of its MailTopic."""
        name = _named(body)
        if name is not None and key not in self._topics:
            # The MailTopic that a MailReplay names never changes.
            topic = Key(MAIL_TOPIC.kind, key.namespace, name)
            self._topics[key] = topic
            self._replays.setdefault(topic, set()).add(key)
        beside = self.beside(key)
        if body is None:
            self._drop(key)
        return beside

    def of(self, topic: Key) -> set[Key]:
        """Return the MailReplays that name a MailTopic."""
        return set(self._replays.get(topic, ()))

    def beside(self, replay: Key) -> set[Key]:
        """Return the other MailReplays of the same MailTopic."""
        topic = self._topics.get(replay)
        return self.of(topic) - {replay} if topic is not None else set()

    def concerned(self, key: Key) -> set[Key]:
        """Return the MailReplays that the status of a MailTopic or MailReplay affects."""
        return self.of(key) | self.beside(key)

    def _drop(self, key: Key) -> None:
        topic = self._topics.pop(key, None)
        if topic is None:
            return
        named = self._replays[topic]
        named.discard(key)
        if not named:
            del self._replays[topic]


def _named(body: Mapping[str, Any] | None) -> str | None:
    """Return the MailTopic that a MailReplay names; None for one that never starts."""
    try:
        return MailReplaySpec.model_validate((body or {}).get("spec")).mail_topic_ref.name
    except ValidationError:
        return None
