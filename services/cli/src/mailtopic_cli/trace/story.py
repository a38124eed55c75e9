"""The story of a mail: its events from Kafka and logs, in order. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from uuid import UUID

from mailtopic_cli.trace.details import Details, known_details
from mailtopic_contract import Outcome, StatusEvent

OUTCOMES = frozenset(outcome.value for outcome in Outcome)

_WORDS = {
    Outcome.ACCEPTED: "delivered to the relay",
    Outcome.DEFERRED: "deferred",
    Outcome.BOUNCED: "bounced",
    Outcome.EXPIRED: "expired",
    Outcome.SUPERSEDED: "superseded by a newer mail",
    Outcome.SUPPRESSED: "suppressed",
    Outcome.UNKNOWN: "unknown whether delivered",
    Outcome.DEAD: "dead",
}


class Source(IntEnum):
    """The source of an event; within one millisecond, the lower value comes first."""

    MAIN = 0
    LOG = 1
    STATUS = 2
    DLQ = 3


@dataclass(frozen=True, slots=True)
class Moment:
    """An event in a mail's life.

    Attributes:
        at_ms: when, epoch milliseconds, by the clock of the machine that recorded it.
        event: one of our event names, such as ``deferred``.
        attempt: in which attempt; None before the first.
        details: details that may be shown: no address, no code.
    """

    at_ms: int
    source: Source
    event: str
    attempt: int | None = None
    details: Details = field(default_factory=dict)

    @property
    def words(self) -> str:
        """The event in words."""
        return (
            _WORDS.get(Outcome(self.event), self.event) if _is_outcome(self.event) else self.event
        )


@dataclass(frozen=True, slots=True)
class Story:
    """All known events of one mail, in order.

    Attributes:
        topic: the main topic; None if unknown.
        accepted_at_ms: when a service accepted it; None if its record is gone.
        expires_at_ms: after this it isn't sent.
    """

    mail_id: UUID
    topic: str | None
    moments: tuple[Moment, ...]
    accepted_at_ms: int | None = None
    expires_at_ms: int | None = None

    @property
    def last(self) -> Moment | None:
        """The newest outcome."""
        outcomes = [each for each in self.moments if _is_outcome(each.event)]
        return outcomes[-1] if outcomes else None

    @property
    def attempts(self) -> int:
        """How many attempts had an outcome, as far as is known."""
        return max((m.attempt or 0 for m in self.moments if _is_outcome(m.event)), default=0)

    @property
    def is_final(self) -> bool:
        """Whether its outcome is final."""
        return self.last is not None and Outcome(self.last.event).final

    @property
    def seconds(self) -> float | None:
        """From acceptance to its newest outcome; None if either is unknown."""
        if self.last is None or self.accepted_at_ms is None:
            return None
        return max(0.0, (self.last.at_ms - self.accepted_at_ms) / 1000)

    def detail(self, name: str) -> str | None:
        """Return this detail from the first moment that has it."""
        found = (str(m.details[name]) for m in self.moments if name in m.details)
        return next(found, None)


def moment_of(event: StatusEvent) -> Moment:
    """Return the moment that an event of N.status records."""
    details = known_details(
        {
            "relay": event.relay,
            "reply": event.reply_class,
            "smtp": event.smtp,
            "tier": event.tier,
            "not_before_ms": event.not_before,
        }
    )
    name = "put back by a replay" if event.replayed else event.outcome.value
    return Moment(event.at, Source.STATUS, name, event.attempt, details)


def in_order(moments: Iterable[Moment]) -> tuple[Moment, ...]:
    """Return moments by time; an outcome that is also in a log line becomes one moment."""
    told: dict[tuple[str, int | None], Moment] = {}
    rest: list[Moment] = []
    for moment in sorted(moments, key=lambda each: each.source, reverse=True):
        key = (moment.event, moment.attempt)
        if moment.source is Source.STATUS:
            told.setdefault(key, moment)
        elif moment.source is Source.LOG and key in told:
            known = told[key]
            told[key] = Moment(known.at_ms, known.source, *key, {**moment.details, **known.details})
        elif moment not in rest:
            rest.append(moment)
    return tuple(sorted([*told.values(), *rest], key=lambda each: (each.at_ms, each.source)))


def verdict(story: Story, *, now_ms: int) -> Iterator[str]:
    """Yield the mail's current state, in words."""
    last = story.last
    if last is None:
        place = story.detail("place")
        where = f"; it is stored at {place}" if place else ""
        yield f"No outcome is recorded yet{where}."
    elif not story.is_final:
        waiting = last.details.get("tier")
        due = last.details.get("not_before_ms")
        in_s = (int(due) - now_ms) / 1000 if due is not None else 0.0
        when = f", due in {in_s:.1f} s" if in_s > 0 else ", due now"
        yield f"It waits for attempt {story.attempts + 1} in the tier {waiting or '?'}{when}."
    else:
        took = f" after {story.seconds:.1f} s" if story.seconds is not None else ""
        attempts = "1 attempt" if story.attempts == 1 else f"{story.attempts} attempts"
        yield f"Its outcome is final: {last.words}{took}, in {attempts}."
    if story.expires_at_ms is not None and not story.is_final and now_ms >= story.expires_at_ms:
        yield "It has expired and will not be sent."


def _is_outcome(event: str) -> bool:
    return event in OUTCOMES
