"""How many records wait, sampled periodically for all MailTopics together."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from mailtopic_operator.domain.desired import Desired
from mailtopic_operator.domain.kafka import KafkaProblem, ProblemKind, TopicState
from mailtopic_operator.domain.observed import Lag
from mailtopic_operator.engine.store import Key
from mailtopic_operator.ports import KafkaBacklog
from mailtopic_runtime import Clock


@dataclass(frozen=True, slots=True)
class Sample:
    """The last measurement; None if it failed or was never made."""

    lag: Lag | None = None
    dead_letters: int | None = None


_UNKNOWN = Sample()


class BacklogSampler:
    """Samples how many records wait. Numbers are as old as the last sample; they decide nothing."""

    def __init__(self, backlog: KafkaBacklog, clock: Clock) -> None:
        self._backlog = backlog
        self._clock = clock
        self._samples: dict[Key, Sample] = {}
        self._partitions: dict[str, int] = {}

    def notice(self, topics: Mapping[str, TopicState | KafkaProblem]) -> None:
        """Remember which topics exist: asking for missing ones takes a whole request timeout."""
        for name, state in topics.items():
            if isinstance(state, TopicState):
                self._partitions[name] = state.partitions
            elif state.kind is ProblemKind.MISSING:
                self._partitions.pop(name, None)

    def of(self, key: Key) -> Sample:
        """Return a MailTopic's last sample."""
        return self._samples.get(key, _UNKNOWN)

    def forget(self, key: Key) -> None:
        """Forget a deleted MailTopic."""
        self._samples.pop(key, None)

    async def sample(self, batch: Mapping[Key, Desired]) -> set[Key]:
        """Measure the topics of all these; return the MailTopics with changed numbers."""
        counts = await self._backlog.counts(
            {
                name: self._partitions[name]
                for desired in batch.values()
                for name in (desired.names.dlq, *_read_by_senders(desired))
                if name in self._partitions
            }
        )
        if any(_is_absence(count) for count in counts.values()):
            return set()
        lags = await self._backlog.lags(
            {
                group: behind
                for desired in batch.values()
                for group, topics in desired.consumer_groups
                # Where nothing was ever written, there is no lag.
                if (behind := {n: self._partitions[n] for n in topics if _number(counts.get(n))})
            }
        )
        now = datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC).replace(microsecond=0)
        changed: set[Key] = set()
        for key, desired in batch.items():
            sample = Sample(
                _lag(desired, counts, lags, now), _number(counts.get(desired.names.dlq))
            )
            if _numbers(sample) != _numbers(self.of(key)):
                changed.add(key)
            self._samples[key] = sample
        return changed


def _read_by_senders(desired: Desired) -> tuple[str, ...]:
    return tuple(name for _, topics in desired.consumer_groups for name in topics)


def _number(answer: int | KafkaProblem | None) -> int | None:
    return answer if isinstance(answer, int) else None


def _lag(
    desired: Desired,
    counts: Mapping[str, int | KafkaProblem],
    lags: Mapping[str, int | KafkaProblem],
    now: datetime,
) -> Lag | None:
    names = _read_by_senders(desired)
    found = [counts[name] for name in names if name in counts]
    found += [lags[group] for group, _ in desired.consumer_groups if group in lags]
    if desired.names.main not in counts or not all(isinstance(each, int) for each in found):
        return None
    records = sum(_number(lags.get(group)) or 0 for group, _ in desired.consumer_groups)
    return Lag(records, None, now)


def _is_absence(answer: int | KafkaProblem) -> bool:
    return isinstance(answer, KafkaProblem) and answer.kind is ProblemKind.UNAVAILABLE


def _numbers(sample: Sample) -> tuple[int | None, int | None]:
    return (sample.lag.records if sample.lag else None, sample.dead_letters)
