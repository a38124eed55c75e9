"""What must hold after every fault, read from the outside: the relay's spool and Kafka."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

import aiokafka

from mailtopic_client.adapters.kafka_consumer import SafeConsumer
from mailtopic_contract import Outcome, RecordError, StatusEvent, decode_status
from support.smtp_relay_process import Taken


class StatusReader:
    """Reads N.status as it grows.

    Args:
        takes_foreign: whether records that are no outcomes are passed by; a test writes them.
    """

    def __init__(
        self, servers: str, topic: str, *, partitions: int, takes_foreign: bool = False
    ) -> None:
        self._takes_foreign = takes_foreign
        self._places = [aiokafka.TopicPartition(f"{topic}.status", n) for n in range(partitions)]
        self._consumer = SafeConsumer(
            bootstrap_servers=servers, enable_auto_commit=False, auto_offset_reset="earliest"
        )
        self.events: list[StatusEvent] = []
        self.decided: set[UUID] = set()

    async def start(self) -> None:
        await self._consumer.start()
        self._consumer.assign(self._places)

    async def stop(self) -> None:
        await self._consumer.stop()

    async def read(self) -> list[StatusEvent]:
        """All events until now; `decided` are the mails with a final one."""
        ends = await self._consumer.end_offsets(self._places)
        while any([await self._consumer.position(place) < ends[place] for place in self._places]):
            for batch in (await self._consumer.getmany(timeout_ms=200)).values():
                for record in batch:
                    try:
                        event = decode_status(None if record.fault else record.value)
                    except RecordError:
                        assert self._takes_foreign
                        continue
                    self.events.append(event)
                    if event.outcome.final:
                        self.decided.add(event.id)
        return self.events


@dataclass(frozen=True)
class Verdict:
    """The outcomes of the mails that a test published.

    Attributes:
        lost: recipients with a mail that the relay never accepted.
        second_copies: copies beyond the first, over all recipients.
        unlike: recipients with copies that differ.
        undecided: mails without a final outcome.
        decided_twice: mails with more than one.
        outcomes: final outcomes.
    """

    lost: set[str]
    second_copies: int
    unlike: set[str]
    undecided: set[UUID]
    decided_twice: set[UUID]
    outcomes: Counter[Outcome] = field(default_factory=Counter)

    def __str__(self) -> str:
        return (
            f"{len(self.lost)} lost, {self.second_copies} second copies"
            f" ({len(self.unlike)} unlike the first), {len(self.undecided)} without and"
            f" {len(self.decided_twice)} with more than one final outcome"
        )


def judge(
    published: Mapping[UUID, str], taken: Iterable[Taken], events: Iterable[StatusEvent]
) -> Verdict:
    """Compare what was published (recipients by mail id) with what was taken and recorded."""
    copies: defaultdict[str, list[str]] = defaultdict(list)
    for mail in taken:
        copies[mail.recipient].append(mail.sha256)
    finals = [event for event in events if event.outcome.final]
    times = Counter(event.id for event in finals)
    return Verdict(
        lost=set(published.values()) - copies.keys(),
        second_copies=sum(len(found) - 1 for found in copies.values()),
        unlike={recipient for recipient, found in copies.items() if len(set(found)) > 1},
        undecided=published.keys() - times.keys(),
        decided_twice={mail_id for mail_id, count in times.items() if count > 1},
        outcomes=Counter(event.outcome for event in finals),
    )
