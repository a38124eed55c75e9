"""How many mails a second a relay takes, learned from its answers. Pure."""

import math

from mailtopic_sender.domain.pace.recent import RecentRate
from mailtopic_sender.domain.pace.suspicion import Suspicion

_BELOW = 0.05
"""A limit is approached from this part below it."""
_FLAT_S = 5.0
_FIRST_FLAT_S = 2.0
_FLAT_MAILS = 50
_LONGEST_FLAT_S = 20.0
"""The next look beyond a limit comes about so much later."""
_GONE = 30.0
"""A limit that is exceeded so many times without a refusal isn't one any more."""
_DIP = 0.6
_SETTLES_S = 1.0
_TEST_S = 4.0
_CERTAIN = 2
_MANY = 0.2
_EARLY = 2
"""So many times in a row it must be too much below the limit before the limit is lower."""
_A_FEW = 30
_SLOW = 10.0
"""Below this rate two seconds are too short to measure it."""
_WEIGHT = 0.4
_SLOWEST = 0.05
"""Mails a second, however much is refused."""
_NOTHING = 0.005
"""Refusals a mail that aren't worth a thought."""
_HEAVY = 4
_HEAVY_S = 0.03
_SPELL_S = 2.0
_LONGEST_WINDOW_S = 120.0


class LearnedRate:
    """The rate: unlimited until refusals say otherwise.

    A refusal is no verdict. When more are refused than chance and habit explain, the rate at which
    mails were *taken* since the relay was last full is the limit: whatever counts there, it was
    full at both ends. Mails then go at 5 % less; the rate grows along a cubic curve (RFC 9438
    §4.2), flat near the limit and steep far from it.

    If few were refused, it is tested first whether fewer are refused at three quarters of the
    rate. If not, the rate isn't the cause, and the old one is restored.
    """

    def __init__(self, now_s: float, learned: float | None) -> None:
        self.limit: float | None = None
        self._recent = RecentRate()
        self._suspicion = Suspicion()
        self._now_s = now_s
        self._is_alert = learned is not None
        self._slowed_at_s = -math.inf
        self._grown_s = 0.0
        self._window_s = 0.0
        self._is_measured = True
        self._is_first = False
        self._early = 0
        self._backoffs = 0
        # Since the relay was last full:
        self._full_at_s = now_s
        self._passed = 0
        self._pressed_s = 0.0
        # A spell in which nothing is taken, and what came before it:
        self._refused_in_row = 0
        self._first_refused_at_s = now_s
        self._whole_began_s: float | None = None
        self._whole_passed = 0
        self._spell_rate: float | None = None
        # A test whether refusals depend on the rate:
        self._dip: _Dip | None = None
        self._whole_tested = 0
        self._test_after = 0
        self._peak: float | None = None
        self._long_passed = 0
        self._long_refused = 0
        self._rate_before = 0.0
        self._is_noise = False
        self._certainty = 0
        self._asked_pause_s = 0.0
        if learned is not None:
            self._hold(learned, now_s)

    # The rate

    @property
    def is_unlimited(self) -> bool:
        """Whether no limit is known."""
        return self.limit is None and self._dip is None

    def per_s(self, now_s: float) -> float:
        """Return how many mails a second may go now; infinite if no limit is known."""
        if self._dip is not None:
            return self._dip.rate
        limit = self.limit
        if limit is None:
            return math.inf
        if self._backoffs:
            slowed = limit * 0.5**self._backoffs
            return max(slowed, min(limit, 1 / self._look_s(now_s)))
        if not self._is_measured:
            rate = limit * 2 ** min(20.0, self._grown_s / max(1.0, 4 / limit))
        else:
            flat_s = self._flat_s
            rate = limit * (1 + _BELOW * (self._grown_s / flat_s - 1) ** 3)
        if rate > max(limit * _GONE, 100.0):
            self.limit = None
            self._certainty = 0
        return rate

    @property
    def _flat_s(self) -> float:
        limit = self.limit or 1.0
        if self._is_first:
            return max(_FIRST_FLAT_S, self._window_s)
        return max(_FLAT_S, self._window_s, min(_LONGEST_FLAT_S, _FLAT_MAILS / limit))

    def _look_s(self, now_s: float) -> float:
        """Seconds between two mails while none is taken."""
        age_s = now_s - self._first_refused_at_s
        return min(5.0, max(0.2, age_s * 0.1, min(self._asked_pause_s, 60.0)))

    def pressed(self, gap_s: float) -> None:
        """Mails waited for the rate for so long."""
        self._pressed_s += gap_s
        if self._dip is None and not self._backoffs:
            self._grown_s += gap_s

    # What happened

    def taken(self, now_s: float) -> None:
        """A mail was taken, or refused for its own sake."""
        self._recent.add(now_s)
        self._passed += 1
        self._whole_passed += 1
        self._long_passed += 1
        self._whole_tested += 1
        if self._is_alert:
            self._taken_alert(now_s)
        elif self._whole_began_s is None:
            self._whole_began_s = now_s

    def _taken_alert(self, now_s: float) -> None:
        if self._refused_in_row:
            self._end_of_spell(now_s)
        if self._suspicion.score:
            self._suspicion.passed()
        if self._dip is not None:
            self._dip.passed(now_s)
            if self._dip.is_over(now_s):
                self._end_of_dip(now_s)
        self._is_alert = bool(self._suspicion.score) or self._dip is not None

    def refused(self, now_s: float, began_at_s: float, asked_pause_s: float) -> bool:
        """A mail was refused; returns whether the pace is (or may be) why."""
        self._is_alert = True
        if not self._refused_in_row:
            self._first_refused_at_s = now_s
        self._refused_in_row += 1
        if began_at_s < self._slowed_at_s:
            return self.limit is not None
        self._asked_pause_s = asked_pause_s
        self._long_refused += 1
        if self._long_passed > 1000:
            self._long_passed //= 2
            self._long_refused = (self._long_refused + 1) // 2
        if self._dip is not None:
            self._dip.refused(began_at_s)
            if self._dip.is_over(now_s):
                self._end_of_dip(now_s)
            return self.limit is not None
        if self._suspicion.refused():
            self._react(now_s)
        return self.limit is not None

    def _react(self, now_s: float) -> None:
        share, refusals = self._suspicion.share, self._suspicion.refusals
        is_testing = self._whole_tested >= self._test_after
        is_heavy = share >= _MANY and refusals >= max(_HEAVY, self._recent.per_s(now_s) * _HEAVY_S)
        if is_heavy:
            self._slow_down(now_s, is_heavy=True)
        elif self._long_passed >= 400 and self._long_share < _NOTHING:
            self._suspicion.clear()
        elif share >= _MANY:
            if self.limit is not None and not self._is_noise:
                self._slow_down(now_s, is_heavy=False)
        elif is_testing:
            self._begin_dip(now_s)
        elif self._is_noise:
            self._suspicion.clear()
        else:
            self._slow_down(now_s, is_heavy=False)

    # Slower

    def _slow_down(self, now_s: float, *, is_heavy: bool) -> None:
        self._suspicion.clear()
        self._slowed_at_s = now_s
        measured = self._measured(now_s)
        if is_heavy:
            self._is_noise = False
            self._certainty = max(self._certainty, 1)
            self._peak = None
            self._long_passed = self._long_refused = 0
            self._test_after, self._whole_tested = max(600, self._test_after), 0
        self._certainty += 1
        if not self._backoffs:
            self._rate_before = self._recent.per_s(now_s)
        if measured is not None:
            self._hold(measured if is_heavy else self._tempered(measured, now_s), now_s)
        elif self.limit is None:
            self._hold(max(self._rate_before, 0.1), now_s, is_measured=False)
        else:
            self._backoffs += 1

    def _measured(self, now_s: float) -> float | None:
        """The rate at which mails were taken since the relay was last full, if that says enough."""
        if self.limit is None:
            return None
        elapsed_s = now_s - self._full_at_s
        if elapsed_s < 0.3 or self._passed < 8 or self._pressed_s < elapsed_s * 0.7:  # noqa: PLR2004
            return None
        measured = self._passed / elapsed_s
        if self._passed < 20 and self._is_measured:  # noqa: PLR2004
            weight = self._passed / 20
            measured = self.limit ** (1 - weight) * measured**weight
        return measured

    def _tempered(self, measured: float, now_s: float) -> float:
        """A limit from what was measured and the rate that was refused.

        A relay that allows no burst wasn't full while the rate was below its limit, so that less
        was taken than it takes.
        """
        limit = self.limit
        if limit is None or not self._is_measured:
            return measured
        if self._grown_s < self._flat_s:
            self._early += 1
            if self._early < _EARLY:
                return max(limit, measured)
            return max(measured, limit * (0.97 if self._passed >= _A_FEW else 0.9))
        self._early = 0
        lately = self._recent.per_s(now_s)
        if lately < _SLOW:
            lately = limit * 1.25
        return measured + (min(self.per_s(now_s), lately) - measured) * _WEIGHT

    def _hold(self, limit: float, now_s: float, *, is_measured: bool = True) -> None:
        self.limit = max(_SLOWEST, limit)
        self._is_first = is_measured and not self._is_measured
        self._is_measured = is_measured
        self._grown_s = 0.0
        self._backoffs = 0
        self._full_at_s = now_s
        self._passed = 0
        self._pressed_s = 0.0

    def _end_of_spell(self, now_s: float) -> None:
        spell_s = now_s - self._first_refused_at_s
        row, self._refused_in_row = self._refused_in_row, 0
        backoffs, self._backoffs = self._backoffs, 0
        if self.limit is None:
            return
        began_s = self._whole_began_s
        whole_s = now_s - (began_s if began_s is not None else self._first_refused_at_s)
        rate = max(0.05, self._whole_passed / max(whole_s, 1e-3))
        if row < 5 or spell_s < max(_SPELL_S, 5 / self.limit):  # noqa: PLR2004
            if backoffs and not self._is_measured:
                self.limit = min(self.limit, max(_SLOWEST, rate, self.limit * 0.5**backoffs))
                self._grown_s = 0.0
            return
        self._whole_began_s, self._whole_passed = now_s, 0
        self._suspicion.clear()
        self._dip = None
        if not self._is_measured and self._rate_before < rate * 1.5:  # noqa: PLR2004
            self._hold(self._rate_before, now_s, is_measured=False)
            return
        seen, self._spell_rate = self._spell_rate, rate
        is_same = seen is not None and 0.75 < rate / seen < 1.33  # noqa: PLR2004
        self._window_s = min(_LONGEST_WINDOW_S, whole_s if is_same else max(10.0, whole_s / 3))
        self._hold(rate, now_s)

    # A test

    def _begin_dip(self, now_s: float) -> None:
        self._suspicion.clear()
        self._slowed_at_s = now_s
        rate = self.per_s(now_s)
        self._peak = max(self._peak or 0.0, rate)
        if math.isinf(rate):
            rate = max(1.0, self._recent.per_s(now_s))
        if self.limit is not None:
            measured = self._measured(now_s)
            self._hold(self.limit if measured is None else self._tempered(measured, now_s), now_s)
        self._dip = _Dip(rate * _DIP, now_s, self._long_share)

    @property
    def _long_share(self) -> float:
        return self._long_refused / max(1, self._long_refused + self._long_passed)

    def _end_of_dip(self, now_s: float) -> None:
        dip, self._dip = self._dip, None
        assert dip is not None
        share = dip.refusals / max(1, dip.passes + dip.refusals)
        self._slowed_at_s = now_s
        if share > 0.3 or dip.is_refused_early:  # noqa: PLR2004
            self._slow_down(now_s, is_heavy=True)
            return
        self._whole_tested = 0
        verdict = self._suspicion.learn(dip.passes, dip.refusals, usually=dip.share_before)
        if verdict is None:
            self._test_after = 300
        elif verdict or self._is_noise:
            self._test_after = 600
        else:
            self._test_after = min(2400, max(600, self._test_after * 2))
        self._is_noise = bool(verdict)
        if self._is_noise:
            self._certainty = 0
            if self.limit is not None and self._peak is not None:
                if math.isinf(self._peak):
                    self.limit = None
                else:
                    self._hold(max(self.limit, self._peak), now_s)
            self._peak = None
            return
        self._certainty += 1
        if self.limit is None:
            self._hold(dip.rate / _DIP, now_s)


class _Dip:
    """A test whether as many are refused at a lower rate."""

    def __init__(self, rate: float, now_s: float, share_before: float) -> None:
        self.rate = rate
        self.share_before = share_before
        self.settled_at_s = now_s + _SETTLES_S
        self.passes = 0
        self.refusals = 0
        self._early_passes = 0
        self._early_refusals = 0
        self._size = min(150, max(20, int(2 / max(share_before, 1e-3))))

    def passed(self, now_s: float) -> None:
        """A mail was taken."""
        if now_s >= self.settled_at_s:
            self.passes += 1
        else:
            self._early_passes += 1

    def refused(self, began_at_s: float) -> None:
        """A mail was refused."""
        if began_at_s >= self.settled_at_s:
            self.refusals += 1
        else:
            self._early_refusals += 1

    @property
    def is_refused_early(self) -> bool:
        """Whether so many were refused at once that the test needn't go on."""
        return self._early_refusals >= 5 and self._early_refusals * 2 > self._early_passes  # noqa: PLR2004

    def is_over(self, now_s: float) -> bool:
        """Whether enough was seen."""
        seen = self.passes + self.refusals
        return (
            self.is_refused_early
            or seen >= self._size
            or (self.refusals > 1 and seen >= self._size / 2)
            or self.refusals >= 5  # noqa: PLR2004
            or (seen > 0 and now_s > self.settled_at_s + _TEST_S)
        )
