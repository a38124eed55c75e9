"""How many mails per second relays take: set in a spec, or learned by the senders.

Learned rates fluctuate. A written one stays until the new one differs considerably, so that no
object is rewritten for noise.
"""

from collections.abc import Iterator

from mailtopic_operator.domain.desired import Desired
from mailtopic_operator.domain.observed import Observed, RelayHealth
from mailtopic_operator.model.base import rate_per_s
from mailtopic_operator.model.mailtopic_status import RelayStatus, Source

_NOTICEABLE = 0.2
"""The relative difference from which a learned rate is written."""


def relay_statuses(desired: Desired, observed: Observed) -> tuple[RelayStatus, ...]:
    """Return each relay with a known rate: the lower of the set and the learned one."""
    return tuple(_statuses(desired, observed))


def _statuses(desired: Desired, observed: Observed) -> Iterator[RelayStatus]:
    before = {each.name: each for each in desired.status.relays}
    found = {each.name: each for each in observed.relays}
    for relay in desired.spec.relays:
        limit = None if relay.rate_limit is None else rate_per_s(relay.rate_limit)
        learned = _learned(before.get(relay.name), found.get(relay.name))
        if learned is not None and (limit is None or learned < limit * (1 - _NOTICEABLE)):
            yield RelayStatus(name=relay.name, mails_per_second=learned, source=Source.LEARNED)
        elif limit is not None:
            yield RelayStatus(
                name=relay.name, mails_per_second=rounded(limit), source=Source.RATE_LIMIT
            )


def _learned(before: RelayStatus | None, found: RelayHealth | None) -> float | None:
    """The learned rate: the current one, or the last known."""
    is_learned = before is not None and before.source is Source.LEARNED
    old = before.mails_per_second if before is not None and is_learned else None
    if found is None or not found.is_pace_known:
        return old
    return steady(old, found.learned_per_s)


def steady(old: float | None, new: float | None) -> float | None:
    """Return the old rate while the new one is about the same, else the new one, rounded."""
    if old is not None and new is not None and abs(new - old) <= _NOTICEABLE * old:
        return old
    return None if new is None else rounded(new)


def rounded(rate: float) -> float:
    """Return a rate with two significant digits."""
    return float(f"{rate:.2g}")


def in_words(statuses: tuple[RelayStatus, ...]) -> str:
    """Return the learned rates for a condition's message; empty if there are none."""
    return "".join(
        f"; {each.name} takes about {each.mails_per_second:.10g} mails/s, learned"
        for each in statuses
        if each.source is Source.LEARNED
    )
