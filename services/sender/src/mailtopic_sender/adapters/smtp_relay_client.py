"""One relay: its pool and its breaker, and one attempt to hand it a mail."""

from collections.abc import Callable
from dataclasses import dataclass

from mailtopic_runtime import Clock, StateLog, get_logger
from mailtopic_sender.adapters.smtp_breaker import Backoff, Gate, RelayBreaker
from mailtopic_sender.adapters.smtp_opening import SessionOpener, SessionRefused
from mailtopic_sender.adapters.smtp_pool import PoolState, SmtpPool
from mailtopic_sender.adapters.smtp_session import Answer
from mailtopic_sender.adapters.smtp_settings import RelaySettings
from mailtopic_sender.domain.message import Message
from mailtopic_sender.domain.replies import ReplyClass
from mailtopic_sender.domain.reply_text import parse_retry_hint, redact
from mailtopic_sender.mail_ports import DeliveryResult


@dataclass(frozen=True, slots=True)
class RelayState:
    """What there is to show of a relay."""

    relay: str
    gate: Gate
    pool: PoolState


class RelayClient:
    """Hands mails to one relay as long as its breaker allows."""

    def __init__(
        self,
        relay: RelaySettings,
        *,
        clock: Clock,
        backoff: Backoff,
        on_change: Callable[[], None],
    ) -> None:
        """Prepare; nothing is opened yet.

        Raises:
            SettingError: the relay's CA file can't be used.
        """
        log = get_logger("mailtopic_sender.smtp")
        self.name = relay.name
        self._clock = clock
        self._opener = SessionOpener(relay, clock=clock, log=log)
        self._pool = SmtpPool(relay, self._opener.open, clock=clock)
        self._breaker = RelayBreaker(
            self._probe,
            state_log=StateLog(log, "relay"),
            clock=clock,
            backoff=backoff,
            on_change=on_change,
            relay=relay.name,
        )

    @property
    def admits(self) -> bool:
        """Whether a mail may be tried now."""
        return self._breaker.admits

    @property
    def state(self) -> RelayState:
        """What there is to show."""
        return RelayState(self.name, self._breaker.gate, self._pool.state)

    @property
    def refusal(self) -> DeliveryResult | None:
        """Why no mail may be tried, as a result; None if nothing is known against the relay."""
        answer = self._breaker.last_answer
        return None if answer is None else self._result(answer, connect_s=0.0, transmit_s=0.0)

    async def check(self) -> None:
        """Open a session, so that a relay that can't be used is known before the first mail."""
        refused = await self._probe()
        if refused is not None:
            self._trip(refused)

    async def attempt(self, message: Message) -> DeliveryResult | None:
        """Try one mail, once more if the connection was stale or refused; None if not admitted."""
        admission = self._breaker.enter()
        if admission is None:
            return None
        began_at_s = admission.entered_at_s
        answer: Answer | None = None
        try:
            answer, connected_at_s = await self._attempt(message)
        finally:
            self._breaker.leave(admission, answer)
        if answer.reply_class.blames_relay and not self.admits:
            self._pool.interrupt(answer)
        return self._result(
            answer,
            connect_s=connected_at_s - began_at_s,
            transmit_s=self._clock.monotonic_s() - connected_at_s,
        )

    async def close(self) -> None:
        """Stop probing and close the connections."""
        await self._breaker.stop()
        self._pool.close()

    async def _attempt(self, message: Message) -> tuple[Answer, float]:
        """The answer, and when (monotonic seconds) there was a connection."""
        try:
            answer, connected_at_s = await self._transact(message, fresh=False)
            if not answer.stale:
                return answer, connected_at_s
            self._pool.discard_idle()
        except SessionRefused as refused:
            is_over = refused.interrupted or self._breaker.gate is Gate.NONE
            if is_over or refused.answer.reply_class is not ReplyClass.TRANSPORT:
                return refused.answer, self._clock.monotonic_s()
        try:
            return await self._transact(message, fresh=True)
        except SessionRefused as refused:
            return refused.answer, self._clock.monotonic_s()

    async def _transact(self, message: Message, *, fresh: bool) -> tuple[Answer, float]:
        session = await self._pool.acquire(fresh=fresh)
        connected_at_s = self._clock.monotonic_s()
        try:
            answer = await session.transmit(message)
            self._pool.learn(answer, began_at_s=connected_at_s)
        finally:
            self._pool.release(session)
        return answer, connected_at_s

    async def _probe(self) -> Answer | None:
        try:
            session = await self._opener.open()
        except SessionRefused as refused:
            return refused.answer
        self._pool.adopt(session)
        return None

    def _trip(self, answer: Answer) -> None:
        self._breaker.trip(answer)
        self._pool.interrupt(answer)

    def _result(self, answer: Answer, *, connect_s: float, transmit_s: float) -> DeliveryResult:
        reply = answer.reply
        return DeliveryResult(
            reply_class=answer.reply_class,
            relay=self.name,
            phase=answer.phase,
            smtp=None if reply is None else reply.codes,
            retry_after_s=None if reply is None else parse_retry_hint(reply.text),
            connect_s=connect_s,
            transmit_s=transmit_s,
            detail=redact(answer.problem if reply is None else reply.text),
        )
