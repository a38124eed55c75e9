"""How many mails a second a relay accepts, learned from its replies. Pure."""

import math

from mailtopic_sender.domain.pace.long_run import LongRun
from mailtopic_sender.domain.pace.recent import RecentRate
from mailtopic_sender.domain.pace.suspicion import Suspicion
from mailtopic_sender.domain.pace.trial import SLOWER, Trial

_BELOW = 0.05
"""A limit is approached from this fraction below it."""
_FLAT_S, _FIRST_FLAT_S, _LONGEST_FLAT_S = 6.0, 2.0, 45.0
_FLAT_MAILS = 60
"""The rate returns to the limit within this many seconds, or mails, and stays near as long."""
_GONE, _GONE_PER_S = 30.0, 100.0
"""A limit that is exceeded by this factor without a refusal is dropped."""
_WEIGHT = 0.4
"""Weight of the refused rate, beside the accepted one, in a new limit."""
_EARLY = 2
"""Times in a row that it must be too much below the limit before the limit is lowered."""
_LITTLE_LOWER, _LOWER = 0.97, 0.9
_FEWEST, _A_FEW, _SURE = 8, 30, 20
"""Mails: the fewest that say anything about a rate, those that say a little, and enough."""
_SHORTEST_S = 0.3
_PRESSED = 0.7
"""A rate says nothing about the relay if mails waited for it in a smaller part of the time."""
_SLOW_PER_S = 10.0
"""Below this rate two seconds are too short to measure it."""
_SLOWEST_PER_S = 0.05
"""However many are refused."""
_MANY = 0.2
"""Refusals per mail that aren't chance, if there are _HEAVY, and those of _HEAVY_S seconds."""
_HEAVY, _HEAVY_S = 4, 0.03
_SPELL, _SPELL_S = 5, 2.0
"""Refusals in a row, and seconds without an accepted mail, that make a spell."""
_OUTAGE = 1.5
"""A spell is an outage unless mails came faster by this factor than they were accepted."""
_ALIKE = 0.75, 1.33
_LONGEST_WINDOW_S = 75.0
_WINDOW_LEAST = 0.8
"""If windows are known, a spell that costs more than the rest is an outage."""
_NEXT_SPELL_S = 90.0
"""A relay that counts by minutes has another spell within this time."""
_LONG_SPELL_S = 10.0
_FIRST_PER_S = 5.0
"""Used while nothing is known yet."""
_STALE_S = 300.0
_NEXT_TRIAL, _NEXT_TRIAL_UNSURE, _LAST_TRIAL = 600, 300, 2400
"""Mails until refusals are tested again."""


class LearnedRate:
    """The rate: unlimited until there are refusals.

    A single refusal decides nothing. When more are refused than chance and the relay's usual share
    explain, the rate at which mails were *accepted* since the relay was last full is the limit:
    whatever the relay counts, it was full at both ends. Mails are then sent at 5 % less; the rate
    grows along a cubic curve (RFC 9438 §4.2), flat near the limit and steep far from it.

    If few were refused, a test first shows whether fewer are refused at a lower rate. If not, the
    rate isn't their cause, and the old one is restored.

    While nothing is accepted at all, mails are sent rarely, and ever more so. This reveals a relay
    that counts by long windows: what it accepted between the ends of two such spells is its limit.
    """

    def __init__(self, now_s: float) -> None:
        self.limit: float | None = None
        self._recent = RecentRate()
        self._suspicion = Suspicion()
        self._is_alert = False
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
        # A spell in which nothing is accepted, and what came before it:
        self._refused_in_row = 0
        self._first_refused_at_s = now_s
        self._whole_began_s: float | None = None
        self._whole_passed = 0
        self._spell_rate: float | None = None
        self._spell_ended_at_s = -math.inf
        self._known: float | None = None
        # A test whether refusals depend on the rate:
        self._trial: Trial | None = None
        self._whole_tested = 0
        self._test_after = 0
        self._peak: float | None = None
        self._long_run = LongRun()
        self._rate_before = 0.0
        self._is_noise = False
        self._asked_pause_s = 0.0

    def adopt(self, limit: float, now_s: float, *, is_hint: bool) -> None:
        """Continue from a limit that was met elsewhere; a hint is doubled until it is refused."""
        self._suspicion.clear()
        self._trial = None
        self._is_alert = True
        self._hold(limit, now_s, is_measured=not is_hint)
        self._known = None if is_hint else self.limit

    # The rate

    @property
    def is_unlimited(self) -> bool:
        """Whether no limit is known."""
        return self.limit is None and self._trial is None

    def per_s(self, now_s: float) -> float:
        """Return how many mails a second may go now; infinite if no limit is known."""
        if self._trial is not None:
            return self._trial.rate
        limit = self.limit
        if limit is None:
            return math.inf
        if self._backoffs:
            slowed = limit * 0.5**self._backoffs
            return max(slowed, min(limit, 1 / self._look_s(now_s)))
        if not self._is_measured:
            rate = limit * 2 ** min(20.0, self._grown_s / max(1.0, 4 / limit))
        else:
            rate = limit * (1 + _BELOW * (self._grown_s / self._flat_s - 1) ** 3)
        if rate > max(limit * _GONE, _GONE_PER_S):
            self.limit = None
        return rate

    @property
    def _flat_s(self) -> float:
        limit = self.limit or 1.0
        if self._is_first:
            return max(_FIRST_FLAT_S, self._window_s)
        return max(_FLAT_S, self._window_s, min(_LONGEST_FLAT_S, _FLAT_MAILS / limit))

    def _look_s(self, now_s: float) -> float:
        """Seconds between two mails while none is accepted."""
        age_s = now_s - self._first_refused_at_s
        return min(5.0, max(0.2, age_s * 0.1, min(self._asked_pause_s, 60.0)))

    def pressed(self, gap_s: float) -> None:
        """Note that mails waited for the rate for this long."""
        self._pressed_s += gap_s
        if self._trial is None and not self._backoffs:
            self._grown_s += gap_s

    # What happened

    def taken(self, now_s: float) -> None:
        """Note a mail that was accepted, or refused for its own reasons."""
        self._recent.add(now_s)
        self._passed += 1
        self._whole_passed += 1
        self._long_run.passed()
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
        if self._trial is not None:
            self._trial.passed(now_s)
            if self._trial.is_over(now_s):
                self._end_of_trial(now_s)
        self._is_alert = bool(self._suspicion.score) or self._trial is not None

    def refused(self, now_s: float, began_at_s: float, asked_pause_s: float) -> bool:
        """Note a refused mail; returns whether the pace is (or may be) the cause."""
        self._is_alert = True
        if not self._refused_in_row:
            self._first_refused_at_s = now_s
            self._rate_before = self._recent.per_s(now_s)
            self._known = self.limit if self._is_measured else None
        self._refused_in_row += 1
        if began_at_s < self._slowed_at_s:
            return self.limit is not None
        self._asked_pause_s = asked_pause_s
        self._long_run.refused()
        if self._trial is not None:
            self._trial.refused(began_at_s)
            if self._trial.is_over(now_s):
                self._end_of_trial(now_s)
            return self.limit is not None
        if self._suspicion.refused():
            self._react(now_s)
        return self.limit is not None

    def _react(self, now_s: float) -> None:
        share, refusals = self._suspicion.share, self._suspicion.refusals
        is_testing = self._whole_tested >= self._test_after
        is_many = share >= _MANY
        is_heavy = is_many and refusals >= max(_HEAVY, self._recent.per_s(now_s) * _HEAVY_S)
        if is_heavy or (is_many and self.limit is not None and not self._is_noise):
            self._forget_noise()
            self._slow_down(now_s, is_heavy=is_heavy)
        elif self._long_run.is_negligible:
            self._suspicion.clear()
        elif is_many:
            return
        elif is_testing:
            self._begin_trial(now_s)
        elif self._is_noise:
            self._suspicion.clear()
        elif (as_refused := self._long_run.rate_as_refused(self.limit)) is not None:
            self._suspicion.accept(self._long_run.share)
            self._is_noise = True
            self._peak = as_refused
            self._restore(now_s)
        else:
            self._slow_down(now_s, is_heavy=False)

    # Slower

    def _slow_down(self, now_s: float, *, is_heavy: bool) -> None:
        self._suspicion.clear()
        self._slowed_at_s = now_s
        measured = self._measured(now_s)
        if measured is not None:
            self._hold(measured if is_heavy else self._tempered(measured, now_s), now_s)
        elif self.limit is None:
            self._hold(max(self._rate_before, _FIRST_PER_S), now_s, is_measured=False)
        else:
            self._backoffs += 1

    def _forget_noise(self) -> None:
        """Drop what was learned of refusals at other rates: the relay's limit has changed."""
        self._is_noise = False
        self._peak = None
        self._long_run.clear()
        self._test_after, self._whole_tested = max(_NEXT_TRIAL, self._test_after), 0

    def _measured(self, now_s: float) -> float | None:
        """The rate of accepted mails since the relay was last full, if that says enough."""
        if self.limit is None:
            return None
        elapsed_s = now_s - self._full_at_s
        is_pressed = self._pressed_s >= elapsed_s * _PRESSED
        if elapsed_s < _SHORTEST_S or self._passed < _FEWEST or not is_pressed:
            return None
        measured = self._passed / elapsed_s
        if self._passed < _SURE and self._is_measured:
            weight = self._passed / _SURE
            measured = self.limit ** (1 - weight) * measured**weight
        return measured

    def _tempered(self, measured: float, now_s: float) -> float:
        """Return a limit from the measured and the refused rate.

        A relay that allows no burst wasn't full while the rate was below its limit, so that fewer
        mails were accepted than it allows.
        """
        limit = self.limit
        if limit is None or not self._is_measured:
            return measured
        if self._grown_s < self._flat_s:
            self._early += 1
            if self._early < _EARLY:
                return max(limit, measured)
            return max(measured, limit * (_LITTLE_LOWER if self._passed >= _A_FEW else _LOWER))
        self._early = 0
        lately = self._recent.per_s(now_s)
        if lately < _SLOW_PER_S:
            lately = limit * 1.25
        return measured + (min(self.per_s(now_s), lately) - measured) * _WEIGHT

    def _hold(self, limit: float, now_s: float, *, is_measured: bool = True) -> None:
        self.limit = max(_SLOWEST_PER_S, limit)
        self._is_first = is_measured and not self._is_measured
        self._is_measured = is_measured
        self._grown_s = 0.0
        self._backoffs = 0
        self._full_at_s = now_s
        self._passed = 0
        self._pressed_s = 0.0
        if self._whole_began_s is not None and now_s - self._whole_began_s > _STALE_S:
            self._whole_began_s, self._whole_passed = now_s, 0

    def _end_of_spell(self, now_s: float) -> None:
        spell_s = now_s - self._first_refused_at_s
        row, self._refused_in_row = self._refused_in_row, 0
        backoffs, self._backoffs = self._backoffs, 0
        if self.limit is None:
            return
        began_s = self._whole_began_s
        whole_s = now_s - (began_s if began_s is not None else self._first_refused_at_s)
        rate = max(_SLOWEST_PER_S, self._whole_passed / max(whole_s, 1e-3))
        if row < _SPELL or spell_s < max(_SPELL_S, _SPELL / self.limit):
            if backoffs and not self._is_measured:
                self.limit = min(self.limit, max(_SLOWEST_PER_S, rate, self.limit * 0.5**backoffs))
                self._grown_s = 0.0
            return
        passed, self._whole_passed = self._whole_passed, 0
        self._whole_began_s = now_s
        self._suspicion.clear()
        self._trial = None
        is_first = now_s - self._spell_ended_at_s > _NEXT_SPELL_S
        self._spell_ended_at_s = now_s
        known = self._known if self._is_measured and is_first else None
        if known is not None and rate < known * (_WINDOW_LEAST if self._window_s else 1):
            self._hold(max(self.limit, known), now_s)
            return
        is_outage = whole_s > _LONGEST_WINDOW_S or self._rate_before < rate * _OUTAGE
        if not self._is_measured and is_outage:
            # A few mails before it say nothing about a limit.
            if spell_s > (_LONG_SPELL_S if passed <= 1 else _LONGEST_WINDOW_S):
                rate = max(rate, _FIRST_PER_S)
            self._hold(max(self._rate_before, rate), now_s, is_measured=False)
            return
        seen, self._spell_rate = self._spell_rate, rate
        is_same = seen is not None and _ALIKE[0] < rate / seen < _ALIKE[1]
        self._window_s = min(_LONGEST_WINDOW_S, whole_s if is_same else max(10.0, whole_s / 3))
        self._hold(rate, now_s)

    # A test

    def _begin_trial(self, now_s: float) -> None:
        self._suspicion.clear()
        self._slowed_at_s = now_s
        rate = self.per_s(now_s)
        self._peak = max(self._peak or 0.0, rate)
        if math.isinf(rate):
            rate = max(1.0, self._recent.per_s(now_s))
        if self.limit is not None:
            measured = self._measured(now_s)
            self._hold(self.limit if measured is None else self._tempered(measured, now_s), now_s)
        self._trial = Trial(rate * SLOWER, now_s, self._long_run.share)

    def _end_of_trial(self, now_s: float) -> None:
        trial, self._trial = self._trial, None
        if trial is None:
            return
        self._slowed_at_s = now_s
        if trial.is_hopeless:
            self._forget_noise()
            self._slow_down(now_s, is_heavy=True)
            return
        self._whole_tested = 0
        verdict = self._suspicion.learn(trial.passes, trial.refusals, usually=trial.share_before)
        if verdict is None:
            self._test_after = _NEXT_TRIAL_UNSURE
        elif verdict or self._is_noise:
            self._test_after = _NEXT_TRIAL
        else:
            self._test_after = min(_LAST_TRIAL, max(_NEXT_TRIAL, self._test_after * 2))
        self._is_noise = bool(verdict)
        if self._is_noise:
            self._restore(now_s)
        elif self.limit is None:
            self._hold(trial.rate / SLOWER, now_s)

    def _restore(self, now_s: float) -> None:
        """Send as fast as before the refusals, which have another cause."""
        peak, self._peak = self._peak, None
        self._long_run.forget_mark()
        if peak is not None and math.isinf(peak):
            self.limit = None
        elif peak is not None and self.limit is not None:
            self._hold(max(self.limit, peak), now_s)
