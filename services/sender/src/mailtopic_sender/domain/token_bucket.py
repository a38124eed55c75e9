"""How many mails a rate allows until now. Pure."""

import math

from mailtopic_runtime import Clock

_BURST_S = 0.2
"""What isn't used for so long is lost: providers look at every single second."""
_NEARLY = 1e-9
"""Sums of fractions miss a whole token by less than this."""


class TokenBucket:
    """A share of a rate, as tokens: one for each mail.

    A token is taken first and spent later, when the mail is really offered. In any t seconds no
    more than ``rate · share · t + burst`` tokens are spent: tokens that are taken and not spent yet
    count as part of the burst, so mails that were held up on their way can't come all at once.
    It starts with one token. It knows nothing of who waits.
    """

    def __init__(self, rate_per_s: float, *, clock: Clock) -> None:
        """Start with the whole rate.

        Args:
            rate_per_s: of everybody together, above 0.
            clock: its monotonic time fills the bucket.
        """
        self._rate_per_s = rate_per_s
        self._clock = clock
        self._share = 1.0
        self._tokens = 1.0
        self._taken = 0
        self._filled_at_s = clock.monotonic_s()

    @property
    def burst(self) -> float:
        """Tokens that may be spent at once after a pause; above one: lateness is no loss."""
        return 1.0 + self._rate_per_s * self._share * _BURST_S

    def set_share(self, share: float) -> None:
        """Set this bucket's part of the rate, 0 to 1; with 0 no more tokens come."""
        self._fill()
        self._share = share
        self._tokens = min(self._tokens, self._room)

    @property
    def is_exhausted(self) -> bool:
        """Whether there will be no token before one of those taken is spent or given back."""
        return self._room < 1 - _NEARLY

    def take(self) -> bool:
        """Take a token if there is one; it must be spent or given back."""
        self._fill()
        if self._share <= 0 or self._tokens < 1 - _NEARLY:
            return False
        self._tokens = max(0.0, self._tokens - 1)
        self._taken += 1
        return True

    def spend(self) -> None:
        """Use up a token that was taken."""
        self._fill()
        self._taken -= 1

    def give_back(self) -> None:
        """Return a token that was taken and won't be used."""
        self._fill()
        self._taken -= 1
        self._tokens = min(self._room, self._tokens + 1)

    def wait_s(self, ahead: int = 0) -> float:
        """Return the seconds until there is a token behind so many others; may be infinite.

        As if those taken were spent at once.
        """
        self._fill()
        if self._share <= 0:
            return math.inf
        missing = ahead + 1 - self._tokens
        return max(0.0, missing - _NEARLY / 2) / (self._rate_per_s * self._share)

    @property
    def _room(self) -> float:
        return max(0.0, self.burst - self._taken)

    def _fill(self) -> None:
        now_s = self._clock.monotonic_s()
        earned = (now_s - self._filled_at_s) * self._rate_per_s * self._share
        self._tokens = min(self._room, self._tokens + earned)
        self._filled_at_s = now_s
