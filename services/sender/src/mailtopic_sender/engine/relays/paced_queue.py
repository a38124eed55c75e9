"""The queue of one relay, released at the relay's pace."""

import asyncio
from collections.abc import Callable
from math import inf
from typing import Protocol

from mailtopic_runtime import Clock
from mailtopic_sender.domain.pace import RelayPace
from mailtopic_sender.engine.relays.port import Offer
from mailtopic_sender.engine.relays.queue import OfferQueue

_SWEEP_S = 0.25
"""How soon a mail that isn't wanted any more (expired, replaced, or not ours) is withdrawn."""
_QUANTUM_S = 0.004
"""Turns within this time are given together: a timer for each mail would cost more."""
_MOST_AT_ONCE = 64


class Gatekeeper(Protocol):
    """What a queue depends on besides the pace."""

    @property
    def room(self) -> int:
        """How many mails the relay's state allows to go; 0: none."""
        ...

    def wake(self, mails: int) -> None:
        """Have the relay pull this many mails."""
        ...

    def look_around(self) -> None:
        """Check whether another relay would be better; called regularly while mails wait."""
        ...


class PacedQueue:
    """Wakes the relay when the next mail may go: one timer for all mails that wait.

    Attributes:
        held_back_at_s: when the pace last kept a mail waiting, monotonic seconds.
        next_turn_s: before this time no mail may go, monotonic seconds; thread-safe.
    """

    def __init__(
        self, pace: RelayPace, gatekeeper: Gatekeeper, *, rate_per_s: float | None, clock: Clock
    ) -> None:
        """Start empty; rate_per_s is the whole group's limit from the settings."""
        self.held_back_at_s = self.next_turn_s = -inf
        self._pace = pace
        self._gatekeeper = gatekeeper
        self._rate_per_s = rate_per_s
        self._share = 1.0
        self._clock = clock
        self._offers = OfferQueue()
        self._timer: asyncio.TimerHandle | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._offers)

    def put(self, offer: Offer) -> None:
        """Queue a mail."""
        self._offers.put(offer)
        self.wake()

    def put_until(self, due_s: float, offer: Offer) -> None:
        """Queue a mail that isn't to be sent before this time, monotonic seconds."""
        self._offers.put_until(due_s, offer)

    def put_first(self, offer: Offer, *, has_turn: bool = False) -> None:
        """Queue a mail before all others; has_turn: it took a turn that wasn't used."""
        if has_turn:
            self._pace.give_back(self._clock.monotonic_s())
        self._offers.put_first(offer)
        self.wake()

    def pop(self) -> Offer | None:
        """Return the next mail that is wanted, with its turn taken; None if none may go now."""
        now_s = self._clock.monotonic_s()
        if not self._offers or not self._gatekeeper.room:
            return None
        if self._offers.due_s() > now_s:
            self._schedule(now_s)
            return None
        if not self._pace.take(now_s):
            self.held_back_at_s = now_s
            self._schedule(now_s)
            return None
        while (offer := self._offers.pop(now_s)) is not None:
            if offer.ticket.is_wanted():
                return offer
            offer.ticket.told(None)
        self._pace.give_back(now_s)
        return None

    def set_share(self, share: float) -> None:
        """Set this process's share of the rate in the settings, 0 to 1."""
        self._share = share
        self._pace.set_share(share, self._clock.monotonic_s())
        self.wake()

    def wait_s(self, ahead: int | None = None) -> float:
        """Return roughly how many seconds a mail would wait behind this many others (or all)."""
        if self._pace.is_open:
            return 0.0
        ahead = len(self._offers) if ahead is None else ahead
        wait_s = self._pace.wait_s(self._clock.monotonic_s())
        rate_per_s = self._rate_now_per_s
        if ahead and rate_per_s is not None:
            wait_s += ahead / rate_per_s if rate_per_s > 0 else inf
        return wait_s

    def recall(self) -> None:
        """Notify the tickets of all mails that aren't wanted any more."""
        for offer in self._offers.take_if(lambda offer: not offer.ticket.is_wanted()):
            offer.ticket.told(None)

    def move_late(self, patience_s: float, move: Callable[[Offer, float], bool]) -> None:
        """Offer mails that will wait for longer than this to `move`, which may take them."""
        if self.wait_s() <= patience_s:
            return
        ahead = -1

        def is_moved(offer: Offer) -> bool:
            nonlocal ahead
            ahead += 1
            wait_s = self.wait_s(ahead)
            return wait_s > patience_s and move(offer, wait_s)

        self._offers.take_if(is_moved)

    def take_all(self) -> list[Offer]:
        """Empty it; returns what was in it."""
        return self._offers.take_all()

    def wake(self) -> None:
        """Have the relay pull what may go now, and schedule the rest."""
        if not self._offers or self._is_closed:
            return
        room = self._gatekeeper.room
        now_s = self._clock.monotonic_s()
        if room and self._offers.due_s() <= now_s and self._pace.wait_s(now_s) <= 0:
            self._gatekeeper.wake(min(room, self._ready))
            if self._sweeper is not None and self._pace.is_open:
                return
        self._schedule(now_s)

    def close(self) -> None:
        """Stop waking the relay."""
        self._is_closed = True
        for timer in (self._timer, self._sweeper):
            if timer is not None:
                timer.cancel()

    @property
    def _ready(self) -> int:
        """About how many mails may go within a moment."""
        if self._pace.is_open:
            return len(self._offers)
        within = int((self._rate_now_per_s or 0.0) * _QUANTUM_S) + 1
        return min(len(self._offers), within, _MOST_AT_ONCE)

    @property
    def _rate_now_per_s(self) -> float | None:
        set_per_s = None if self._rate_per_s is None else self._rate_per_s * self._share
        learned_per_s = self._pace.learned.rate_per_s
        known = [each for each in (set_per_s, learned_per_s) if each is not None]
        return min(known, default=None)

    def _schedule(self, now_s: float) -> None:
        if not self._offers or self._is_closed:
            return
        loop = asyncio.get_running_loop()
        if self._sweeper is None:
            self._sweeper = loop.call_later(_SWEEP_S, self._sweep)
        wait_s = max(self._offers.due_s() - now_s, self._pace.wait_s(now_s))
        self.next_turn_s = now_s + wait_s
        if not 0 < wait_s < inf:
            return
        wait_s = max(wait_s, _QUANTUM_S)
        if self._timer is not None:
            if self._timer.when() <= loop.time() + wait_s + _QUANTUM_S:
                return
            self._timer.cancel()  # an answer has made the pace faster
        self._timer = loop.call_later(wait_s, self._look_again)

    def _look_again(self) -> None:
        self._timer = None
        self.wake()

    def _sweep(self) -> None:
        self._sweeper = None
        self.recall()
        self._gatekeeper.look_around()
        self.wake()
