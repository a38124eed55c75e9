"""Whether so many refusals are more than chance and a relay's usual ones. Pure."""

_TOLERATED = 0.015
"""Refusals a mail that aren't worth going slower for."""
_MOST_USUAL = 0.1
"""A relay that refuses more than this without regard to the rate can't be told from a limit."""
_REMEMBERED = 300
_ENOUGH_ELSE = 1.2
_ENOUGH_USUALLY = 2.5
_ENOUGH = 2.0
"""So many refusals were to be expected in a test that had none."""


class Suspicion:
    """A one-sided cumulative sum (CUSUM): it grows with a refusal and shrinks with a mail taken.

    Attributes:
        score: how much there is now.
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
        """Refusals a mail since the score was last 0."""
        return self.refusals / max(1, self.refusals + self._passes)

    def passed(self) -> None:
        """A mail was taken while there was some."""
        self._passes += 1
        self.score -= self._drift
        if self.score <= 0:
            self.clear()

    def refused(self) -> bool:
        """A mail was refused; returns whether it is too much."""
        self.refusals += 1
        self.score += 1
        return self.score >= (_ENOUGH_USUALLY if self.usual else _ENOUGH_ELSE)

    def clear(self) -> None:
        """Start from nothing."""
        self.score = 0.0
        self._passes = self.refusals = 0

    def learn(self, passes: int, refusals: int, *, usually: float) -> bool | None:
        """Take in what was refused at a rate that is surely allowed.

        Args:
            passes: mails taken.
            refusals: mails refused.
            usually: the share of refusals at all rates.

        Returns:
            Whether as many are refused as usually; None if that can't be said yet.
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
        """Take a share of refusals for usual."""
        self.clear()
        self.usual = min(_MOST_USUAL, share)
        self._drift = _TOLERATED + 1.5 * self.usual
