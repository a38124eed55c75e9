"""Keeps mails from a relay that can't accept any, and finds out when it can again."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from enum import Enum

from mailtopic_runtime import Clock, StateLog
from mailtopic_sender.domain.replies import SESSION_PHASES, ReplyClass
from mailtopic_sender.engine.relays.backoff import Backoff
from mailtopic_sender.engine.relays.blame import Blame
from mailtopic_sender.mail_ports import DeliveryResult


@dataclass(frozen=True, slots=True)
class Admission:
    """A mail that was let in, and when (monotonic seconds)."""

    entered_at_s: float
    is_trial: bool


class BreakerState(Enum):
    """Whether mails go to the relay, with the usual names for a circuit breaker's states."""

    CLOSED = "closed"
    """The relay works as far as is known."""
    HALF_OPEN = "half-open"
    """A session could be opened, but the failure was a mail's, so one mail is tried."""
    OPEN = "open"
    """No mail is sent; a probe runs."""


class RelayBreaker:
    """The breaker of one relay.

    It opens at the first reply that blames the relay, or, from RCPT on, at the second one: see
    `Blame`. Then a probe opens a session repeatedly. If it was the session that failed, the probe's
    success closes the breaker; if a transaction was refused (a login required at MAIL, a quota used
    up), one mail has to pass first. Another refusal of a recipient that was refused before proves
    nothing, so the next mail is tried at once. Opening writes one log line, and so does closing.

    Attributes:
        state: the current state.
        last_answer: the reply that keeps it open; None while it is closed.
    """

    def __init__(
        self,
        probe: Callable[[], Awaitable[DeliveryResult | None]],
        *,
        state_log: StateLog,
        clock: Clock,
        backoff: Backoff,
        on_change: Callable[[], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Start closed.

        Args:
            probe: opens a session and returns None, or the reply that refused it.
            state_log: gets one line on each change; it names the relay.
            clock: used to recognize outdated replies.
            backoff: the pauses between probes.
            on_change: called whenever `admits` may have changed.
            sleep: returns after this many seconds, or when a probe may do better than the last.
        """
        self._probe = probe
        self._state_log = state_log
        self._clock = clock
        self._backoff = backoff
        self._on_change = on_change
        self._sleep = sleep
        self._blame = Blame()
        self._share = 1.0
        self._pauses_without_share = False
        self.state = BreakerState.CLOSED
        self._trial_runs = False
        self._failures = 0
        self._closed_at_s = float("-inf")
        self.last_answer: DeliveryResult | None = None
        self._prober: asyncio.Task[None] | None = None
        self._is_stopped = False

    @property
    def admits(self) -> bool:
        """Whether `enter` would let a mail through now."""
        return self.state is BreakerState.CLOSED or (
            self.state is BreakerState.HALF_OPEN and not self._trial_runs
        )

    def enter(self) -> Admission | None:
        """Admit a mail; None if it must stay out. `leave` must follow an admission."""
        if not self.admits:
            return None
        is_trial = self.state is BreakerState.HALF_OPEN
        if is_trial:
            self._trial_runs = True
            self._on_change()
        return Admission(self._clock.monotonic_s(), is_trial)

    def leave(
        self, admission: Admission, answer: DeliveryResult | None, recipient: Hashable = None
    ) -> None:
        """Report the result of an admitted mail; None if it was given up.

        `recipient` is any key of it; None if it isn't known.
        """
        if admission.is_trial:
            self._trial_runs = False
        if answer is None:
            pass
        elif answer.reply_class.blames_relay:
            is_blamed = self._blame.refused(answer.phase, recipient, self._clock.monotonic_s())
            # An older reply belongs to an outage that has ended.
            if is_blamed and admission.entered_at_s >= self._closed_at_s:
                self.trip(answer)
        else:
            if answer.reply_class is ReplyClass.ACCEPTED:
                self._blame.taken(recipient, admission.entered_at_s)
            if admission.is_trial and self.state is BreakerState.HALF_OPEN:
                self._close()
        if admission.is_trial:
            self._on_change()

    def is_alone(self, recipient: Hashable) -> bool:
        """Whether the relay refuses this recipient while it accepts others."""
        return self._blame.is_alone(recipient)

    def trip(self, answer: DeliveryResult) -> None:
        """Open, and start probing; no effect if it is open already."""
        if self.state is BreakerState.OPEN or self._is_stopped:
            return
        self.state = BreakerState.OPEN
        self.last_answer = answer
        self._failures += 1
        self._state_log.down(_reason(answer))
        self._on_change()
        self._begin_to_probe()

    def set_share(self, share: float) -> None:
        """Set this process's share of the group's work, 0 to 1; 0 also while it is unknown.

        A pause that began with 0, which may be an hour, is restarted with the new share.
        """
        self._share = share
        if share > 0 and self._pauses_without_share and self._prober is not None:
            self._prober.cancel()
            self._begin_to_probe()

    async def stop(self) -> None:
        """End the probe, and start no other."""
        self._is_stopped = True
        if self._prober is not None:
            self._prober.cancel()
            await asyncio.gather(self._prober, return_exceptions=True)
            self._prober = None

    def _begin_to_probe(self) -> None:
        self._pauses_without_share = False
        self._prober = asyncio.create_task(self._keep_probing(), name="probe of a relay")

    async def _keep_probing(self) -> None:
        while self.last_answer is not None:
            last = self.last_answer
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
            self.last_answer = refused
        if self.last_answer is None or self.last_answer.phase in SESSION_PHASES:
            self._close()
        else:
            self.state = BreakerState.HALF_OPEN
        self._on_change()

    def _close(self) -> None:
        self.state = BreakerState.CLOSED
        self.last_answer = None
        self._failures = 0
        self._closed_at_s = self._clock.monotonic_s()
        self._state_log.up()


def _reason(answer: DeliveryResult) -> str:
    words = _SESSION_WORDS if answer.phase in SESSION_PHASES else _WORDS
    if answer.smtp is None:
        return answer.detail or words.get(answer.reply_class, answer.reply_class.value)
    # The reply's own text is left out: its codes give the kind.
    return f"{words.get(answer.reply_class, 'refused')} ({answer.smtp})"


_WORDS = {
    ReplyClass.AUTH: "the relay wants a login, or another one",
    ReplyClass.POLICY: "the relay wants TLS",
    ReplyClass.QUOTA: "the account's allowance is used up",
}
_SESSION_WORDS = _WORDS | {
    ReplyClass.AUTH: "login refused",
    ReplyClass.POLICY: "STARTTLS refused",
}
"""For refusals before any mail is offered."""
