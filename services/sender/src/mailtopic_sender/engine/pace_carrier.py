"""Passes what was learned about the relays on with the partitions, from owner to owner."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from mailtopic_runtime import Clock, get_logger
from mailtopic_sender.domain.pace import Learned
from mailtopic_sender.domain.pace.carried import (
    HINT_S,
    SURE_S,
    Carried,
    CarriedError,
    decode_carried,
    encode_carried,
    together,
)
from mailtopic_sender.engine.relays.state import RelayState

_RENEW_S = 300
"""A time that is older by this much is written again."""
_NOTICEABLE = 0.1
"""A rate that changed by less isn't written again."""


class Relays(Protocol):
    """The relays whose limits are learned."""

    @property
    def relays(self) -> Sequence[RelayState]:
        """The state of each."""
        ...

    def adopt(self, relay: str, learned: Learned, *, is_hint: bool) -> None:
        """Have one continue from what was learned elsewhere."""
        ...


class PaceCarrier:
    """Writes what partitions are to carry, and adopts what they carried.

    Best effort: without it, limits are met and learned again.
    """

    def __init__(self, relays: Relays, accounts: Mapping[str, str], clock: Clock) -> None:
        """Start with nothing written.

        Args:
            relays: learn limits, and adopt carried ones.
            accounts: by the relay's name, a key of 8 characters for its host and login. What was
                carried for another key doesn't concern this relay.
            clock: its wall time is used.
        """
        self._relays = relays
        # Of two relays with one account, the first gets the limits.
        self._names = {account: name for name, account in reversed(list(accounts.items()))}
        self._clock = clock
        self._replies: dict[str, int] = {}
        self._seen_s: dict[str, int] = {}
        self._written: dict[str, tuple[int, Learned]] = {}
        self._log = get_logger(__name__)

    def text(self, partitions: int) -> str:
        """Return what each of this many partitions is to carry; small changes are ignored."""
        if not partitions:
            return ""
        states = {state.relay: state for state in self._relays.relays}
        limits = {}
        for account, name in self._names.items():
            new = (self._last_seen_s(states[name]), states[name].learned)
            old = self._written.get(account)
            limits[account] = new if old is None or _differs(new, old) else old
        self._written = limits
        return encode_carried(limits, partitions)

    def begun(self, carried: Iterable[str]) -> None:
        """Adopt what the partitions of a new assignment carried."""
        now_s = self._now_s
        found: dict[str, list[Carried]] = {}
        problem = None
        for text in carried:
            try:
                for account, part in decode_carried(text, now_s).items():
                    if account in self._names and now_s - part.seen_s <= HINT_S:
                        found.setdefault(account, []).append(part)
            except CarriedError as error:
                problem = problem or error
        if problem is not None:
            self._log.warning("pace.ignored", reason=f"a commit's pace: {problem}")
        states = {state.relay: state for state in self._relays.relays}
        for account, parts in found.items():
            self._adopt(states[self._names[account]], parts)

    def _adopt(self, state: RelayState, parts: Sequence[Carried]) -> None:
        own = state.learned
        if own == Learned() and any(state.replies.values()):
            return  # it has met no limit, which is better evidence
        learned = _news(together(parts), own)
        seen_s = max(part.seen_s for part in parts)
        is_hint = self._now_s - seen_s > SURE_S
        if learned == Learned() or (is_hint and learned.rate_per_s is None):
            return
        self._seen_s[state.relay] = seen_s
        self._relays.adopt(state.relay, learned, is_hint=is_hint)
        self._log.info(
            "pace.resumed",
            relay=state.relay,
            rate_per_s=None if learned.rate_per_s is None else round(learned.rate_per_s, 2),
            connections=learned.connections,
            mails_per_connection=learned.mails_per_connection,
            age_s=max(0, self._now_s - seen_s),
            is_hint=is_hint,
        )

    @property
    def _now_s(self) -> int:
        return self._clock.now_ms() // 1000

    def _last_seen_s(self, state: RelayState) -> int:
        replies = sum(state.replies.values())
        if state.relay not in self._seen_s or replies != self._replies.get(state.relay, 0):
            self._seen_s[state.relay] = self._now_s
        self._replies[state.relay] = replies
        return self._seen_s[state.relay]


def _differs(new: tuple[int, Learned], old: tuple[int, Learned]) -> bool:
    if new[0] - old[0] > _RENEW_S:
        return True
    now, before = new[1], old[1]
    return (
        _is_far(now.rate_per_s, before.rate_per_s)
        or now.connections != before.connections
        or now.mails_per_connection != before.mails_per_connection
    )


def _news(learned: Learned, own: Learned) -> Learned:
    """Return the part of it that isn't known already."""
    rate, connections = learned.rate_per_s, learned.connections
    mails = learned.mails_per_connection
    return Learned(
        rate if _is_far(rate, own.rate_per_s) else None,
        connections if connections != own.connections else None,
        mails if mails != own.mails_per_connection else None,
    )


def _is_far(now: float | None, before: float | None) -> bool:
    if now is None or before is None:
        return now is not before
    return abs(now - before) > _NOTICEABLE * before
