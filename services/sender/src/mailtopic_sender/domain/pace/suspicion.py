"""Whether refusals are more than chance and a relay's usual share. Pure."""

_TOLERATED = 0.015
"""Refusals per mail that aren't worth slowing down for."""
_MOST_USUAL = 0.1
"""A higher share of refusals at any rate can't be distinguished from a limit."""
_REMEMBERED = 300
_ENOUGH_ELSE = 1.2
_ENOUGH_USUALLY = 2.5
_ENOUGH = 2.0
"""Refusals to expect in a test that had none, for it to count."""


class Suspicion:
    """A one-sided cumulative sum (CUSUM): refusals increase it, accepted mails decrease it.

    Attributes:
        score: the current sum.
        usual: the share of refusals that doesn't depend on the rate, as far as it is known.
    """

    def __init__(self) -> None:
        self.score = 0.0
        self.usual = 0.0
        self._passes = 0
        self.refusals = 0
        self._tested = 0.0
        self._tested_refusals = 0.0
        self._drift = _TOLERATED

    @property
    def share(self) -> float:
        """Refusals per mail since the score was last 0."""
        return self.refusals / max(1, self.refusals + self._passes)

    def passed(self) -> None:
        """Note an accepted mail while the score is above 0."""
        self._passes += 1
        self.score -= self._drift
        if self.score <= 0:
            self.clear()

    def refused(self) -> bool:
        """Note a refused mail; returns whether that is too much."""
        self.refusals += 1
        self.score += 1
        return self.score >= (_ENOUGH_USUALLY if self.usual else _ENOUGH_ELSE)

    def clear(self) -> None:
        """Start from nothing."""
        self.score = 0.0
        self._passes = self.refusals = 0

    def learn(self, passes: int, refusals: int, *, usually: float) -> bool | None:
        """Learn the usual share from a rate that is surely allowed.

        Args:
            passes: mails accepted.
            refusals: mails refused.
            usually: the share of refusals at all rates.

        Returns:
            Whether as many are refused as usual; None if that is unknown yet.
        """
        if self._tested > _REMEMBERED:
            self._tested /= 2
            self._tested_refusals /= 2
        self._tested += passes + refusals
        self._tested_refusals += refusals
        share = self._tested_refusals / max(1.0, self._tested)
        is_same = self._tested_refusals >= 1.5 and share >= usually / 2  # noqa: PLR2004
        self.usual = min(_MOST_USUAL, usually, share) if is_same else 0.0
        self._drift = _TOLERATED + 1.5 * self.usual
        if is_same:
            return True
        return False if self._tested * usually >= _ENOUGH else None

    def accept(self, share: float) -> None:
        """Treat a share of refusals as usual."""
        self.clear()
        self.usual = min(_MOST_USUAL, share)
        self._drift = _TOLERATED + 1.5 * self.usual
