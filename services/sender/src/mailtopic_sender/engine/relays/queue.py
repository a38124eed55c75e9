"""The mails that wait for one relay: first attempts and others alternate."""

from collections import deque
from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush
from itertools import count
from math import inf

from mailtopic_sender.engine.relays.port import Offer


class OfferQueue:
    """Holds offers; waiting takes no task and no connection.

    Three kinds: those that go before all others, because they were about to be sent already; first
    attempts, in order; and those that have waited before, ordered by due time. The latter two
    alternate, so that neither a backlog nor a burst delays all others.
    """

    def __init__(self) -> None:
        self._next: deque[Offer] = deque()
        self._fresh: deque[Offer] = deque()
        self._waiting: list[tuple[float, int, Offer]] = []
        self._order = count()
        self._is_waitings_turn = False

    def __len__(self) -> int:
        return len(self._next) + len(self._fresh) + len(self._waiting)

    def put(self, offer: Offer) -> None:
        """Queue a mail."""
        if offer.is_fresh:
            self._fresh.append(offer)
        else:
            self.put_until(0.0, offer)

    def put_until(self, due_s: float, offer: Offer) -> None:
        """Queue a mail that isn't to be sent before this time, monotonic seconds."""
        heappush(self._waiting, (due_s, next(self._order), offer))

    def put_first(self, offer: Offer) -> None:
        """Queue a mail before all others."""
        self._next.append(offer)

    def due_s(self) -> float:
        """Return when a mail may be popped at the earliest, monotonic seconds; inf if none may."""
        if self._next or self._fresh:
            return 0.0
        return self._waiting[0][0] if self._waiting else inf

    def pop(self, now_s: float) -> Offer | None:
        """Return the next mail that may be sent at this time."""
        if self._next:
            return self._next.popleft()
        has_waiting = bool(self._waiting) and self._waiting[0][0] <= now_s
        if has_waiting and (self._is_waitings_turn or not self._fresh):
            self._is_waitings_turn = False
            return heappop(self._waiting)[2]
        self._is_waitings_turn = True
        return self._fresh.popleft() if self._fresh else None

    def take_all(self) -> list[Offer]:
        """Empty it; returns what was in it."""
        found = list(self)
        self._next.clear()
        self._fresh.clear()
        self._waiting.clear()
        return found

    def take_if(self, wanted: Callable[[Offer], bool]) -> list[Offer]:
        """Remove and return all that match."""
        taken = [offer for offer in self if wanted(offer)]
        if taken:
            gone = set(map(id, taken))
            self._next = deque(offer for offer in self._next if id(offer) not in gone)
            self._fresh = deque(offer for offer in self._fresh if id(offer) not in gone)
            self._waiting = [each for each in self._waiting if id(each[2]) not in gone]
            heapify(self._waiting)
        return taken

    def __iter__(self) -> Iterator[Offer]:
        yield from self._next
        yield from self._fresh
        for _, _, offer in sorted(self._waiting, key=lambda each: each[:2]):
            yield offer
