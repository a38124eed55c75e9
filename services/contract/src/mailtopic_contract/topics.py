"""The names of a MailTopic's Kafka topics."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mailtopic_contract.errors import ContractError

MAX_TOPIC_NAME_LENGTH = 249
"""Kafka's own limit on a topic's name."""

_TOPIC = re.compile(r"[A-Za-z0-9._-]+")
_TIER = re.compile(r"([1-9][0-9]{0,5})(s|m|h)")
_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000}


@dataclass(frozen=True, slots=True)
class RetryTier:
    """A retry topic's fixed delay: its name within the topic's name, and milliseconds."""

    name: str
    delay_ms: int


def parse_tier(text: str) -> RetryTier:
    """Return the tier for a text such as ``10s``, ``5m`` or ``2h``.

    Raises:
        ContractError: the text is not a whole positive number followed by s, m or h.
    """
    match = _TIER.fullmatch(text)
    if not match:
        raise ContractError("a retry tier is a whole number followed by s, m or h, such as 10s")
    return RetryTier(text, int(match[1]) * _UNIT_MS[match[2]])


DEFAULT_TIERS = (parse_tier("10s"), parse_tier("1m"), parse_tier("5m"))


@dataclass(frozen=True, slots=True)
class TopicNames:
    """All topics of the MailTopic whose main topic is ``main``.

    Raises:
        ContractError: the name isn't a valid topic name, is too long for the names derived from it,
            or the tiers don't increase.
    """

    main: str
    tiers: Sequence[RetryTier] = DEFAULT_TIERS

    def __post_init__(self) -> None:
        """Reject names that Kafka would reject later, one topic at a time."""
        if not _TOPIC.fullmatch(self.main) or self.main in {".", ".."}:
            raise ContractError("a topic's name consists of letters, digits, dots, _ and -")
        if max(map(len, self.all)) > MAX_TOPIC_NAME_LENGTH:
            raise ContractError(f"a topic's name has at most {MAX_TOPIC_NAME_LENGTH} characters")
        delays = [tier.delay_ms for tier in self.tiers]
        if delays != sorted(set(delays)):
            raise ContractError("retry tiers must grow from one to the next")

    @property
    def dlq(self) -> str:
        """Records that no attempt can deliver, byte for byte unchanged."""
        return f"{self.main}.dlq"

    @property
    def status(self) -> str:
        """One event for every outcome."""
        return f"{self.main}.status"

    def retry(self, tier: RetryTier) -> str:
        """The topic of records that wait for a tier's delay."""
        return f"{self.main}.retry.{tier.name}"

    @property
    def retries(self) -> tuple[str, ...]:
        """The tiers' topics, the shortest delay first."""
        return tuple(self.retry(tier) for tier in self.tiers)

    @property
    def all(self) -> tuple[str, ...]:
        """Every topic, the main one first."""
        return (self.main, *self.retries, self.dlq, self.status)
