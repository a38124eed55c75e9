"""Holds mails while a relay refuses them all alike, and remembers earlier bounces."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from mailtopic_contract import MailRecord
from mailtopic_runtime import Clock, get_logger
from mailtopic_sender.domain.refusals import Blame, RefusalGuard, RefusalLimits, Verdict
from mailtopic_sender.domain.replies import ReplyClass, is_known_to_name_recipient
from mailtopic_sender.domain.reply_text import wording
from mailtopic_sender.engine.incoming import Incoming
from mailtopic_sender.engine.lanes import Slots
from mailtopic_sender.engine.lease import Lease
from mailtopic_sender.mail_ports import DeliveryResult
from mailtopic_sender.metrics import SenderMetrics

_REMEMBERED_BOUNCES = 100

_OURS = frozenset({ReplyClass.SENDER, ReplyClass.REPUTATION, ReplyClass.PROTOCOL})
_RECIPIENTS = frozenset({ReplyClass.PROVIDER_SUPPRESSED, ReplyClass.MAILBOX_FULL})
_JUDGED = _OURS | _RECIPIENTS | {ReplyClass.HARD_BOUNCE, ReplyClass.CONTENT}


class Bounce(NamedTuple):
    """A mail that was recorded as bounced."""

    incoming: Incoming
    result: DeliveryResult


class RefusalGate:
    """One for all consumers of a process; see `RefusalGuard`.

    A mail that waits here has no outcome, so its offset stays, and intake stops when enough are
    held. It lends its slot meanwhile, and it expires like any other.
    """

    def __init__(
        self,
        limits: RefusalLimits | None = None,
        *,
        slots: Slots,
        metrics: SenderMetrics,
        clock: Clock,
        look_s: float = 5.0,
    ) -> None:
        """Start open; a waiting mail checks again after look_s seconds at the latest."""
        self._guard = RefusalGuard(limits)
        self._slots = slots
        self._metrics = metrics
        self._clock = clock
        self._look_s = look_s
        self._over = asyncio.Event()
        self._waiting = 0
        self._bounces: deque[tuple[str, Bounce]] = deque(maxlen=_REMEMBERED_BOUNCES)
        self._log = get_logger(__name__)

    @property
    def is_open(self) -> bool:
        """Whether any number of mails may be sent."""
        return not self._guard.is_closed or not self._guard.holds(self._clock.monotonic_s())

    @property
    def waiting(self) -> int:
        """How many mails wait for the gate to open. Thread-safe."""
        return self._waiting

    def may_try(self, mail: MailRecord) -> bool:
        """Whether a mail may be sent now; while closed, this takes the turn."""
        return self._guard.may_try(mail.address.domain, self._clock.monotonic_s())

    async def wait(self, mail: MailRecord, lease: Lease, *, timeout_s: float) -> None:
        """Return when the mail should check again.

        Raises:
            Abandoned: the lease ended first.
        """
        turn_s = self._guard.wait_s(mail.address.domain, self._clock.monotonic_s())
        self._waiting += 1
        try:
            with self._slots.lent():
                await lease.wait(
                    self._over.wait(), timeout_s=min(max(turn_s, 0.01), self._look_s, timeout_s)
                )
        finally:
            self._waiting -= 1

    def accepted(self, result: DeliveryResult) -> None:
        """Note a mail that a relay accepted."""
        self._guard.note_accepted()
        if not self._guard.is_closed:
            return
        now_s = self._clock.monotonic_s()
        if self._guard.may_open(began_s=now_s - result.transmit_s, now_s=now_s):
            self._over.set()
            self._metrics.refused_alike.set(0)
            self._log.info("refusals.over")

    def judged(self, mail: MailRecord, result: DeliveryResult) -> DeliveryResult | None:
        """Return what a reply means in view of all others; None: the mail has to wait."""
        if result.reply_class is ReplyClass.ACCEPTED:
            self.accepted(result)
        if result.reply_class not in _JUDGED or result.smtp is None or result.phase == "local":
            return result
        was_closed = self._guard.is_closed
        words = _words(mail, result)
        verdict = self._guard.note_refused(
            words,
            recipient=mail.address.normalised,
            domain=mail.address.domain,
            blame=_blame(result),
            now_s=self._clock.monotonic_s(),
        )
        if not was_closed and self._guard.is_closed:
            self._show_closed(words, result)
        if verdict is Verdict.HELD:
            return None
        if verdict is Verdict.LATER:
            return result._replace(reply_class=ReplyClass.SENDER)
        return result

    def bounced(self, incoming: Incoming, mail: MailRecord, result: DeliveryResult) -> None:
        """Remember a mail that is recorded as bounced."""
        if result.phase != "local":
            self._bounces.append((_words(mail, result), Bounce(incoming, result)))

    def wrong_bounces(self) -> Sequence[Bounce]:
        """Return, once, the bounces whose reply text all mails get."""
        if not self._guard.is_closed:
            return ()
        wrong = [each for each in self._bounces if self._guard.is_alike(each[0])]
        for each in wrong:
            self._bounces.remove(each)
        return [bounce for _, bounce in wrong]

    def _show_closed(self, words: str, result: DeliveryResult) -> None:
        self._over = asyncio.Event()
        self._metrics.refused_alike.set(1)
        self._log.error(
            "refusals.alike",
            relay=result.relay,
            reply=result.reply_class.value,
            phase=result.phase,
            words=words,
            hint="all recipients get these words, none bounces: MailTopicSenderRefused's runbook",
        )


def _words(mail: MailRecord, result: DeliveryResult) -> str:
    local = mail.address.normalised.rpartition("@")[0]
    return f"{result.smtp} {wording(result.detail, names=(local, mail.address.domain))}"


def _blame(result: DeliveryResult) -> Blame:
    if result.reply_class in _OURS:
        return Blame.OURS
    is_known = result.reply_class in _RECIPIENTS or (
        result.reply_class is ReplyClass.HARD_BOUNCE
        and is_known_to_name_recipient(result.smtp, result.detail)
    )
    return Blame.RECIPIENT if is_known else Blame.UNCLEAR
