"""The share of refusals over many mails, and whether it falls with the rate. Pure."""

from typing import NamedTuple

_REMEMBERED = 1000
_NOTHING, _NOTHING_OF = 0.005, 400
"""Refusals per mail, over at least this many mails, that can be ignored."""
_MARKED, _MUCH_SLOWER, _AS_MANY, _WORTH_IT = 200, 0.8, 0.8, 0.01
"""Mails; fractions of the earlier rate and refusals per mail; refusals per mail."""


class _Mark(NamedTuple):
    """A rate, and the refusals per mail at it."""

    rate: float
    share: float


class LongRun:
    """Counts mails and refusals since the relay's limit last changed."""

    def __init__(self) -> None:
        self._passed = 0
        self._refused = 0
        self._mark: _Mark | None = None

    def passed(self) -> None:
        """Note an accepted mail."""
        self._passed += 1

    def refused(self) -> None:
        """Note a refused mail."""
        self._refused += 1
        if self._passed > _REMEMBERED:
            self._passed //= 2
            self._refused = (self._refused + 1) // 2

    def clear(self) -> None:
        """Start from nothing."""
        self._passed = self._refused = 0
        self._mark = None

    def forget_mark(self) -> None:
        """Compare with no earlier rate."""
        self._mark = None

    @property
    def share(self) -> float:
        """Refusals per mail."""
        return self._refused / max(1, self._refused + self._passed)

    @property
    def is_negligible(self) -> bool:
        """Whether too few are refused to slow down for."""
        return self._passed >= _NOTHING_OF and self.share < _NOTHING

    def rate_as_refused(self, limit: float | None) -> float | None:
        """Return a much higher rate at which no more were refused than at this limit, if any."""
        mark = self._mark
        if mark is None:
            if limit is not None and self._passed >= _MARKED:
                self._mark = _Mark(limit, self.share)
                self._passed = self._refused = 0
            return None
        is_slower = limit is not None and limit < mark.rate * _MUCH_SLOWER
        enough = self._passed >= _MARKED and mark.share >= _WORTH_IT
        is_same = is_slower and enough and self.share >= mark.share * _AS_MANY
        return mark.rate if is_same else None
