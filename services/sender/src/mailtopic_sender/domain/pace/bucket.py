"""Mails spaced by a rate that may change at any time. Pure."""

import math

BURST_S = 0.1
"""Turns that aren't used within this time are lost: providers check every single second."""
_FAST_PER_S = 10.0
"""Below this rate two mails close together are noticed, and a delay costs little."""
_NEARLY = 1e-9
"""Rounding errors of a whole token are smaller than this."""


class Spacing:
    """A bucket of tokens, one for each mail.

    In any t seconds at one rate no more than ``rate · (t + BURST_S) + 1`` mails go.
    """

    def __init__(self, now_s: float) -> None:
        self._tokens = 1.0
        self._filled_at_s = now_s

    def wait_s(self, now_s: float, rate_per_s: float) -> float:
        """Return the seconds until the next mail may go at a rate."""
        missing = 1 - self._tokens - (now_s - self._filled_at_s) * rate_per_s
        if missing <= _NEARLY:
            return 0.0
        return missing / rate_per_s if rate_per_s > 0 else math.inf

    def take(self, now_s: float, rate_per_s: float) -> bool:
        """Let a mail go at a rate, if it may."""
        tokens = self._tokens + (now_s - self._filled_at_s) * rate_per_s
        self._tokens = min(tokens, 1 + rate_per_s * BURST_S * min(1.0, rate_per_s / _FAST_PER_S))
        self._filled_at_s = now_s
        if self._tokens < 1 - _NEARLY:
            return False
        self._tokens -= 1
        return True

    def give_back(self) -> None:
        """Return the token of a mail that wasn't sent."""
        self._tokens += 1
