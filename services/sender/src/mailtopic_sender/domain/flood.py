"""Detects a flood of dead mails, whose cause isn't the mails themselves. Pure."""

from collections import deque
from dataclasses import dataclass

_SLICES = 60
_FIRST_PAUSE_S = 5.0
_LONGEST_PAUSE_S = 60.0


@dataclass(frozen=True, slots=True)
class FloodLimits:
    """The definition of a flood.

    Attributes:
        share: more than this share of the mails die, 0 to 1; with 1 nothing is a flood.
        window_s: over this many seconds.
        least: and at least this many die in that time; a smaller batch of garbage isn't a flood.
    """

    share: float = 0.2
    window_s: float = 300.0
    least: int = 100


@dataclass(slots=True)
class _Slice:
    number: int
    dead: int = 0
    total: int = 0


class FloodBreaker:
    """Opens when too large a share of the mails die; then it lets only a few be buried.

    While it is open, one burial is let through after each pause, 5 s at first and doubled up to 60
    s. It closes when few enough of the last ``least`` judged mails are dead, or when for a whole
    window nothing died and nothing was buried. Neither the cause nor the waiting mails are tracked
    here.
    """

    def __init__(self, limits: FloodLimits) -> None:
        self._limits = limits
        self._slices: deque[_Slice] = deque()
        self._dead = 0
        self._total = 0
        self._recent: deque[bool] = deque(maxlen=limits.least)
        self._died_at_s = 0.0
        self._next_burial_s = 0.0
        self._pause_s = _FIRST_PAUSE_S
        self._is_open = False

    @property
    def is_open(self) -> bool:
        """Whether burials have to wait."""
        return self._is_open

    def note(self, *, is_dead: bool, now_s: float, under_way: int = 0) -> None:
        """Note a mail's fate when it is known; not again when the mail is buried.

        Args:
            is_dead: only a person can help it; otherwise it continued, if only to a retry topic.
            now_s: monotonic time.
            under_way: mails with an unknown fate. They count as alive, because dead ones are known
                at once and those that a relay is slow to accept are not.
        """
        self._forget(now_s)
        # Slices, because a fast sender's individual outcomes would take megabytes.
        number = int(now_s * _SLICES / self._limits.window_s)
        if not self._slices or self._slices[-1].number != number:
            self._slices.append(_Slice(number))
        self._slices[-1].total += 1
        self._slices[-1].dead += is_dead
        self._total += 1
        self._dead += is_dead
        if is_dead:
            self._died_at_s = now_s
        if self._is_open:
            self._recent.append(is_dead)
            self._close_if_over()
        elif self._dead >= self._limits.least:
            total = self._total + under_way
            if self._dead > self._limits.share * total:
                self._open(now_s)

    def may_bury(self, now_s: float) -> bool:
        """Whether a dead mail may be buried now; while the breaker is open, this takes the turn."""
        self._forget(now_s)
        if not self._is_open:
            return True
        if now_s < self._next_burial_s:
            return False
        self._died_at_s = now_s
        self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)
        self._next_burial_s = now_s + self._pause_s
        return True

    def wait_s(self, now_s: float) -> float:
        """Return the seconds until the next burial; others may take that turn."""
        return max(0.0, self._next_burial_s - now_s) if self._is_open else 0.0

    def _open(self, now_s: float) -> None:
        self._is_open = True
        self._recent.clear()
        self._pause_s = _FIRST_PAUSE_S
        self._next_burial_s = now_s + self._pause_s

    def _close(self) -> None:
        self._is_open = False
        self._slices.clear()
        self._dead = self._total = 0

    def _close_if_over(self) -> None:
        is_known = len(self._recent) == self._limits.least
        if is_known and sum(self._recent) <= self._limits.share * len(self._recent):
            self._close()

    def _forget(self, now_s: float) -> None:
        if self._is_open and now_s - self._died_at_s > self._limits.window_s:
            self._close()
        first = int(now_s * _SLICES / self._limits.window_s) - _SLICES
        while self._slices and self._slices[0].number <= first:
            gone = self._slices.popleft()
            self._dead -= gone.dead
            self._total -= gone.total
