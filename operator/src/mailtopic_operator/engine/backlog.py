"""How much waits, sampled for all MailTopics together and now and then."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from mailtopic_operator.domain.desired import Desired
from mailtopic_operator.domain.kafka import KafkaProblem
from mailtopic_operator.domain.observed import Lag
from mailtopic_operator.engine.store import Key
from mailtopic_operator.ports import KafkaBacklog
from mailtopic_runtime import Clock


@dataclass(frozen=True, slots=True)
class Sample:
    """What was last found; None where it could not be measured, or never was."""

    lag: Lag | None = None
    dead_letters: int | None = None


_UNKNOWN = Sample()


class BacklogSampler:
    """Samples what waits. A number is as old as the last sample; it decides nothing here."""

    def __init__(self, backlog: KafkaBacklog, clock: Clock) -> None:
        self._backlog = backlog
        self._clock = clock
        self._samples: dict[Key, Sample] = {}

    def of(self, key: Key) -> Sample:
        """Return a MailTopic's last sample."""
        return self._samples.get(key, _UNKNOWN)

    def forget(self, key: Key) -> None:
        """Let go of a MailTopic that is no more."""
        self._samples.pop(key, None)

    async def sample(self, batch: Mapping[Key, Desired]) -> set[Key]:
        """Look at the topics of all these; return those whose numbers have changed."""
        there = {key: desired for key, desired in batch.items() if desired.status.topic is not None}
        counts = await self._backlog.counts(
            {
                name: _partitions(desired)
                for desired in there.values()
                for name in (desired.names.dlq, *_read_by_senders(desired))
            }
        )
        lags = await self._backlog.lags(
            {
                group: dict.fromkeys(topics, _partitions(desired))
                for desired in there.values()
                for group, topics in desired.consumer_groups
                # Where nothing was ever written, nobody can be behind.
                if any(counts.get(name) != 0 for name in topics)
            }
        )
        now = datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC).replace(microsecond=0)
        changed: set[Key] = set()
        for key, desired in there.items():
            sample = Sample(_lag(desired, lags, now), _number(counts.get(desired.names.dlq)))
            if _numbers(sample) != _numbers(self.of(key)):
                changed.add(key)
            self._samples[key] = sample
        return changed


def _partitions(desired: Desired) -> int:
    topic = desired.status.topic
    return topic.partitions if topic is not None else 0


def _read_by_senders(desired: Desired) -> tuple[str, ...]:
    return tuple(name for _, topics in desired.consumer_groups for name in topics)


def _number(answer: int | KafkaProblem | None) -> int | None:
    return answer if isinstance(answer, int) else None


def _lag(desired: Desired, lags: Mapping[str, int | KafkaProblem], now: datetime) -> Lag | None:
    records = 0
    for group, _ in desired.consumer_groups:
        found = lags.get(group, 0)
        if isinstance(found, KafkaProblem):
            return None
        records += found
    return Lag(records, None, now)


def _numbers(sample: Sample) -> tuple[int | None, int | None]:
    return (sample.lag.records if sample.lag else None, sample.dead_letters)
