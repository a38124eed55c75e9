"""Keeps mails away from a relay that can't take any, and finds out when it can again."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum

from mailtopic_runtime import Clock, StateLog
from mailtopic_sender.domain.replies import SESSION_PHASES, ReplyClass
from mailtopic_sender.mail_ports import DeliveryResult

_BLOCKING = frozenset({ReplyClass.AUTH, ReplyClass.BLOCKED})
"""What becomes worse by trying often."""
_GROUP = 3
"""So many senders pause for the shortest time."""
_LARGER_GROUP = 1.5
_LONGEST_S = 3600.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long a probe waits after the one before, seconds, ±10 % so that processes spread.

    Attributes:
        steps_s: the pauses in order; the last one repeats.
        login_steps_s: the same while the relay requires a login at MAIL, or this host is refused.
        refused_login_steps_s: the same while a login is refused. With the jitter, above ten minutes
            for a group of up to three senders; see `pause_s`.
        quota_steps_s: the same while an allowance is used up, which lasts for hours.
    """

    steps_s: tuple[float, ...] = (0.5, 1.0, 2.0, 5.0)
    login_steps_s: tuple[float, ...] = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0)
    refused_login_steps_s: tuple[float, ...] = (700.0,)
    quota_steps_s: tuple[float, ...] = (30.0, 60.0, 120.0, 300.0, 600.0)

    def pause_s(
        self, failures: int, reply_class: ReplyClass, *, phase: str = "", share: float = 1.0
    ) -> float:
        """Return the pause after this many failures (from 1).

        Servers lock out an account after a handful of refused logins. So that the senders of a
        group together try fewer than five in ten minutes, each pauses the longer, the smaller its
        share of the work is, up to an hour, and large groups spread over twice the time.
        """
        steps_s = self.steps_s
        if phase == "auth" and reply_class in _BLOCKING:
            scale = max(1.0, 1 / max(share * _GROUP, 1e-3))
            step_s = self.refused_login_steps_s[min(failures, len(self.refused_login_steps_s)) - 1]
            spread = 1.1 if scale < _LARGER_GROUP else 2.0
            scaled_s = min(step_s * scale, max(step_s, _LONGEST_S))
            return scaled_s * random.uniform(0.9, spread)  # noqa: S311 - the same
        if reply_class in _BLOCKING:
            steps_s = self.login_steps_s
        elif reply_class is ReplyClass.QUOTA:
            steps_s = self.quota_steps_s
        step_s = steps_s[min(failures, len(steps_s)) - 1]
        return step_s * random.uniform(0.9, 1.1)  # noqa: S311 - spreads load, guards nothing


@dataclass(frozen=True, slots=True)
class Admission:
    """A mail that was let in, and when (monotonic seconds)."""

    entered_at_s: float
    is_trial: bool


class Gate(Enum):
    """What the breaker lets through."""

    ALL = "all"
    """Closed: the relay works as far as is known."""
    ONE = "one"
    """Half open: a session could be opened, but it was a mail that failed, so one mail tries."""
    NONE = "none"
    """Open: a probe is at it."""


class RelayBreaker:
    """The breaker of one relay.

    It opens at the first answer that blames the relay. Then a probe opens a session, again and
    again. If it was the session that failed before, the probe's success closes the breaker; if a
    transaction was refused (a login required at MAIL, an allowance used up), one mail has to pass
    first. Opening writes one log line, and so does closing.
    """

    def __init__(
        self,
        probe: Callable[[], Awaitable[DeliveryResult | None]],
        *,
        state_log: StateLog,
        clock: Clock,
        backoff: Backoff,
        on_change: Callable[[], None],
        relay: str,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Start closed.

        Args:
            probe: opens a session and returns None, or the answer that refused it.
            state_log: gets one line on each change.
            clock: tells old news from new.
            backoff: the pauses between probes.
            on_change: called whenever `admits` may have changed.
            relay: the relay's name.
            sleep: returns after so many seconds, or when a probe may do better than the last.
        """
        self._probe = probe
        self._state_log = state_log
        self._clock = clock
        self._backoff = backoff
        self._on_change = on_change
        self._relay = relay
        self._sleep = sleep
        self._share = 1.0
        self._pauses_without_share = False
        self._gate = Gate.ALL
        self._trial_runs = False
        self._failures = 0
        self._closed_at_s = float("-inf")
        self._last: DeliveryResult | None = None
        self._prober: asyncio.Task[None] | None = None
        self._is_stopped = False

    @property
    def gate(self) -> Gate:
        """What it lets through."""
        return self._gate

    @property
    def admits(self) -> bool:
        """Whether `enter` would let a mail through now."""
        return self._gate is Gate.ALL or (self._gate is Gate.ONE and not self._trial_runs)

    @property
    def last_answer(self) -> DeliveryResult | None:
        """The answer that keeps it open; None while it is closed."""
        return self._last

    def enter(self) -> Admission | None:
        """Let a mail in; None if it must stay out. After an admission, `leave` is due."""
        if not self.admits:
            return None
        is_trial = self._gate is Gate.ONE
        if is_trial:
            self._trial_runs = True
            self._on_change()
        return Admission(self._clock.monotonic_s(), is_trial)

    def leave(self, admission: Admission, answer: DeliveryResult | None) -> None:
        """Report what became of a mail that was let in; None if it was given up."""
        if admission.is_trial:
            self._trial_runs = False
        if answer is not None and answer.reply_class.blames_relay:
            self.note(answer, began_at_s=admission.entered_at_s)
        elif answer is not None and admission.is_trial and self._gate is Gate.ONE:
            self._close()
        if admission.is_trial:
            self._on_change()

    def note(self, answer: DeliveryResult, *, began_at_s: float) -> None:
        """Report an answer to a mail that went without an admission, begun at that time."""
        # An older answer belongs to an outage that is over.
        if answer.reply_class.blames_relay and began_at_s >= self._closed_at_s:
            self.trip(answer)

    def trip(self, answer: DeliveryResult) -> None:
        """Open, and begin to probe; nothing new if it is open already."""
        if self._gate is Gate.NONE or self._is_stopped:
            return
        self._gate = Gate.NONE
        self._last = answer
        self._failures += 1
        self._report_down(answer)
        self._on_change()
        self._begin_to_probe()

    def set_share(self, share: float) -> None:
        """Set this process's part of the group's work, 0 to 1; 0 also while it isn't known yet.

        A pause that began with 0, which may be an hour, begins again with the part.
        """
        self._share = share
        if share > 0 and self._pauses_without_share and self._prober is not None:
            self._prober.cancel()
            self._begin_to_probe()

    async def stop(self) -> None:
        """End the probe, and begin none any more."""
        self._is_stopped = True
        if self._prober is not None:
            self._prober.cancel()
            await asyncio.gather(self._prober, return_exceptions=True)
            self._prober = None

    def _begin_to_probe(self) -> None:
        self._pauses_without_share = False
        self._prober = asyncio.create_task(self._keep_probing(), name=f"probe {self._relay}")

    async def _keep_probing(self) -> None:
        while self._last is not None:
            last = self._last
            self._pauses_without_share = self._share <= 0
            await self._sleep(
                self._backoff.pause_s(
                    self._failures, last.reply_class, phase=last.phase, share=self._share
                )
            )
            self._pauses_without_share = False
            refused = await self._probe()
            # Before Python 3.12, asyncio.wait_for loses a cancellation that comes together with
            # the result, and the library that opens sessions uses it.
            if self._is_stopped:
                return
            if refused is None:
                break
            self._failures += 1
            self._last = refused
        if self._last is None or self._last.phase in SESSION_PHASES:
            self._close()
        else:
            self._gate = Gate.ONE
        self._on_change()

    def _close(self) -> None:
        self._gate = Gate.ALL
        self._last = None
        self._failures = 0
        self._closed_at_s = self._clock.monotonic_s()
        self._state_log.up(relay=self._relay)

    def _report_down(self, answer: DeliveryResult) -> None:
        words = _SESSION_WORDS if answer.phase in SESSION_PHASES else _WORDS
        if answer.smtp is None:
            reason = answer.detail or words.get(answer.reply_class, answer.reply_class.value)
        else:
            # The reply's own text stays out of it: its codes say what kind it is.
            reason = f"{words.get(answer.reply_class, 'refused')} ({answer.smtp})"
        self._state_log.down(reason, relay=self._relay)


_WORDS = {
    ReplyClass.AUTH: "the relay wants a login, or another one",
    ReplyClass.POLICY: "the relay wants TLS",
    ReplyClass.QUOTA: "the account's allowance is used up",
}
_SESSION_WORDS = _WORDS | {
    ReplyClass.AUTH: "login refused",
    ReplyClass.POLICY: "STARTTLS refused",
}
"""For what is refused before any mail is offered."""
