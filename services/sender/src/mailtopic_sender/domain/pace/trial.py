"""A test whether refusals depend on the rate. Pure."""

SLOWER = 0.6
"""A trial's rate, as a fraction of the rate before: even with a few others on the relay, its limit
is then well above the sum."""
_SETTLES_S = 1.0
"""How long a relay that counts by seconds remembers what came before."""
_LASTS_S = 4.0
"""Others that share the relay use up the free capacity within seconds."""
_FEWEST, _MOST = 20, 150
_EXPECTED = 2.0
_ENOUGH = 5
"""This many refusals are enough."""


class Trial:
    """Some seconds at a lower rate.

    Attributes:
        rate: mails a second.
        share_before: refusals per mail at the rate before.
        passes: accepted mails, without those too early to count.
        refusals: the same for refused mails.
    """

    def __init__(self, rate: float, now_s: float, share_before: float) -> None:
        self.rate = rate
        self.share_before = share_before
        self.passes = 0
        self.refusals = 0
        self._settled_at_s = now_s + _SETTLES_S
        self._early_passes = 0
        self._early_refusals = 0
        expected = _EXPECTED / max(share_before, 1 / _MOST)
        self._size = min(_MOST, max(_FEWEST, int(expected)))

    def passed(self, now_s: float) -> None:
        """Count an accepted mail."""
        if now_s >= self._settled_at_s:
            self.passes += 1
        else:
            self._early_passes += 1

    def refused(self, began_at_s: float) -> None:
        """Count a refused mail."""
        if began_at_s >= self._settled_at_s:
            self.refusals += 1
        else:
            self._early_refusals += 1

    @property
    def is_hopeless(self) -> bool:
        """Whether so many were refused that a limit below this rate is the only explanation."""
        early = self._early_refusals
        if early >= _ENOUGH and early * 2 > self._early_passes:
            return True
        return self.refusals * 10 > (self.passes + self.refusals) * 3

    def is_over(self, now_s: float) -> bool:
        """Whether there is enough evidence."""
        seen = self.passes + self.refusals
        return (
            seen >= self._size
            or (self.refusals > 1 and seen * 2 >= self._size)
            or self.refusals >= _ENOUGH
            or (self._early_refusals >= _ENOUGH and self.is_hopeless)
            or (seen > 0 and now_s > self._settled_at_s + _LASTS_S)
        )
