"""One relay: its pace, its pool and its breaker, and one attempt to hand it a mail."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mailtopic_runtime import Clock, Span, SpanKind, StateLog, child_span, get_logger
from mailtopic_sender.adapters.smtp_breaker import Backoff, Gate, RelayBreaker
from mailtopic_sender.adapters.smtp_opening import SessionOpener, SessionRefused
from mailtopic_sender.adapters.smtp_pace import Pace, Turn
from mailtopic_sender.adapters.smtp_pool import PoolState, SmtpPool
from mailtopic_sender.adapters.smtp_session import Answer, SmtpSession
from mailtopic_sender.adapters.smtp_settings import RelaySettings
from mailtopic_sender.adapters.smtp_streams import Offer, SmtpStreams
from mailtopic_sender.domain.message import Message
from mailtopic_sender.domain.replies import ReplyClass
from mailtopic_sender.domain.reply_text import parse_retry_hint, redact
from mailtopic_sender.mail_ports import DeliveryResult, Offeror, Permit, Withdrawn

LONGEST_BRAKE_S = 60.0
"""A relay that asks for a longer pause than this gets its mails back by the retry topics."""


class _Braked(Exception):  # noqa: N818 - it says what happened
    """The relay was braked while the mail waited for a connection: it needs another turn."""


@dataclass(frozen=True, slots=True)
class RelayState:
    """What there is to show of a relay.

    Attributes:
        relay: its name.
        rate_per_s: mails a second that the whole group may hand to it; None: no limit is set.
        replies: how many answers of each class it gave, to mails and to attempts to open a
            session; a lost link counts as the class that it means.
    """

    relay: str
    rate_per_s: float | None
    gate: Gate
    pool: PoolState
    replies: Mapping[ReplyClass, int]


class RelayClient:
    """Hands mails to one relay as long as its breaker allows."""

    def __init__(
        self,
        relay: RelaySettings,
        *,
        clock: Clock,
        backoff: Backoff,
        brake_s: float,
        on_change: Callable[[], None],
    ) -> None:
        """Prepare; nothing is opened yet.

        Args:
            relay: where it is, and how much to ask of it.
            clock: the time by which connections grow old.
            backoff: the pauses between probes.
            brake_s: the pause after the relay said "too fast" and named no longer one.
            on_change: called whenever `admits` may have changed.

        Raises:
            SettingError: the relay's CA file can't be used.
        """
        log = get_logger("mailtopic_sender.smtp")
        self.name = relay.name
        self._server = (relay.host, relay.port)
        self._clock = clock
        self._rate_per_s = relay.rate_per_s
        self._brake_s = brake_s
        self._on_change = on_change
        self._replies = dict.fromkeys(ReplyClass, 0)
        self._opener = SessionOpener(relay, clock=clock, log=log)
        self._pace = Pace(relay.rate_per_s, clock=clock)
        self._pool = SmtpPool(relay, self._open_for_mail, clock=clock)
        self._streams = SmtpStreams(
            self._pool,
            clock=clock,
            may_send=lambda: self.is_free,
            answered=self._answered,
        )
        self._breaker = RelayBreaker(
            self._probe,
            state_log=StateLog(log, "relay"),
            clock=clock,
            backoff=backoff,
            on_change=self._note_change,
            relay=relay.name,
        )

    @property
    def admits(self) -> bool:
        """Whether a mail may be tried now."""
        return self._breaker.admits

    @property
    def is_free(self) -> bool:
        """Whether any number of mails may be handed over: nothing is known against the relay."""
        return self._breaker.gate is Gate.ALL and self._pace.is_free

    @property
    def wait_s(self) -> float:
        """About how long a mail that came now would wait for its turn, seconds."""
        return self._pace.wait_s

    @property
    def state(self) -> RelayState:
        """What there is to show."""
        replies = self._replies.copy()
        return RelayState(
            self.name, self._rate_per_s, self._breaker.gate, self._pool.state, replies
        )

    @property
    def refusal(self) -> DeliveryResult | None:
        """Why no mail may be tried, as a result; None if nothing is known against the relay."""
        answer = self._breaker.last_answer
        return None if answer is None else self._result(answer, connect_s=0.0, transmit_s=0.0)

    def set_share(self, share: float) -> None:
        """Set this process's part of the relay's rate, 0 to 1."""
        self._pace.set_share(share)

    async def check(self) -> None:
        """Open a session, so that a relay that can't be used is known before the first mail."""
        refused = await self._probe()
        if refused is not None:
            self._breaker.trip(refused)
            self._pool.interrupt(refused)

    async def attempt(
        self, message: Message, permit: Permit, *, patience_s: float
    ) -> DeliveryResult | None:
        """Try one mail, once more if the relay hung up before it; None if not admitted.

        Raises:
            Withdrawn: the permit ended, or patience_s seconds passed, before the mail was offered.
        """
        admission = self._breaker.enter()
        if admission is None:
            return None
        answer: Answer | None = None
        try:
            with child_span("smtp attempt", SpanKind.CLIENT) as span:
                while (turn := await self._pace.turn(permit, timeout_s=patience_s)) is not None:
                    began_at_s = self._clock.monotonic_s()
                    try:
                        answer, connected_at_s = await self._attempt(message, permit, turn)
                    except _Braked:
                        continue
                    finally:
                        turn.end()
                    connect_s = connected_at_s - began_at_s
                    transmit_s = self._clock.monotonic_s() - connected_at_s
                    result = self._result(answer, connect_s=connect_s, transmit_s=transmit_s)
                    self._describe(span, answer)
                    return result
                return None
        finally:
            self._breaker.leave(admission, answer)
            if answer is not None:
                self._warn_waiting(answer)

    def offer(self, message: Message, offeror: Offeror) -> None:
        """Take a mail while the relay `is_free`; what wasn't sent then needs an `attempt`."""
        self._streams.put(Offer(message, offeror, self._clock.monotonic_s()))

    def _answered(self, offer: Offer, answer: Answer) -> None:
        began_at_s = offer.begun_at_s
        self._learn(answer, began_at_s=began_at_s)
        if answer.reply_class is not ReplyClass.ACCEPTED:
            if answer.stale or answer.hung_up_first:
                if answer.stale:
                    self._pool.discard_idle()
                offer.offeror.told(None)
                return
            self._breaker.note(answer, began_at_s=began_at_s)
            self._warn_waiting(answer)
        offer.offeror.told(
            self._result(
                answer,
                connect_s=began_at_s - offer.offered_at_s,
                transmit_s=self._clock.monotonic_s() - began_at_s,
                is_final=_is_last_word(answer),
            )
        )

    async def close(self) -> None:
        """Stop probing and close the connections."""
        await self._breaker.stop()
        await self._streams.close()
        self._pace.interrupt()
        self._pool.close()

    async def _attempt(self, message: Message, permit: Permit, turn: Turn) -> tuple[Answer, float]:
        """The answer, and when (monotonic seconds) there was a connection."""
        try:
            answer, connected_at_s = await self._transact(message, permit, turn, fresh=False)
            if answer.stale:
                self._pool.discard_idle()
            elif not answer.hung_up_first:
                return answer, connected_at_s
        except SessionRefused as refused:
            is_over = refused.interrupted or self._breaker.gate is Gate.NONE
            if is_over or refused.answer.reply_class is not ReplyClass.TRANSPORT:
                return refused.answer, self._clock.monotonic_s()
        try:
            return await self._transact(message, permit, turn, fresh=True)
        except SessionRefused as refused:
            return refused.answer, self._clock.monotonic_s()

    async def _transact(
        self, message: Message, permit: Permit, turn: Turn, *, fresh: bool
    ) -> tuple[Answer, float]:
        session = await self._pool.acquire(fresh=fresh)
        connected_at_s = self._clock.monotonic_s()
        try:
            # Things may have changed while the mail waited for a connection.
            if not permit.holds:
                raise Withdrawn
            if self._pace.is_braked:
                raise _Braked
            turn.use()
            with child_span("smtp transaction", SpanKind.CLIENT) as span:
                answer = await session.transmit(message)
                self._describe(span, answer)
            self._learn(answer, began_at_s=connected_at_s)
        finally:
            self._pool.release(session)
        return answer, connected_at_s

    def _learn(self, answer: Answer, *, began_at_s: float) -> None:
        self._replies[answer.reply_class] += not (answer.stale or answer.used_up)
        is_outcry = self._pool.learn(answer, began_at_s=began_at_s)
        if is_outcry and answer.reply_class is ReplyClass.THROTTLED and answer.reply is not None:
            asked_s = parse_retry_hint(answer.reply.text) or 0.0
            self._pace.brake(min(max(self._brake_s, asked_s), LONGEST_BRAKE_S))

    def _warn_waiting(self, answer: Answer) -> None:
        """Let nobody wait for a connection to a relay that was just found unusable."""
        if answer.reply_class.blames_relay and not self.admits:
            self._pool.interrupt(answer)

    async def _open_for_mail(self) -> SmtpSession:
        with child_span("smtp session open", SpanKind.CLIENT) as span:
            try:
                session = await self._open()
            except SessionRefused as refused:
                self._describe(span, refused.answer)
                raise
            self._describe(span)
            return session

    async def _open(self) -> SmtpSession:
        try:
            return await self._opener.open()
        except SessionRefused as refused:
            self._replies[refused.answer.reply_class] += 1
            raise

    async def _probe(self) -> Answer | None:
        try:
            session = await self._open()
        except SessionRefused as refused:
            return refused.answer
        self._pool.adopt(session)
        return None

    def _note_change(self) -> None:
        if self._breaker.gate is Gate.NONE:
            self._pace.interrupt()
        self._on_change()

    def _describe(self, span: Span, answer: Answer | None = None) -> None:
        if not span.is_recorded:
            return
        host, port = self._server
        span.set("server.address", host)
        span.set("server.port", port)
        span.set("mailtopic.relay", self.name)
        if answer is None:
            return
        span.set("mailtopic.smtp.phase", answer.phase)
        # The codes alone: the text is the relay's own and may name the recipient.
        span.set("mailtopic.smtp.reply", answer.reply.codes if answer.reply else None)
        span.set("mailtopic.smtp.reply_class", answer.reply_class.value)
        if answer.reply_class is not ReplyClass.ACCEPTED:
            span.fail(answer.reply_class.value)

    def _result(
        self, answer: Answer, *, connect_s: float, transmit_s: float, is_final: bool = True
    ) -> DeliveryResult:
        reply = answer.reply
        if answer.reply_class is ReplyClass.ACCEPTED:
            return DeliveryResult(
                ReplyClass.ACCEPTED,
                self.name,
                answer.phase,
                smtp=None if reply is None else reply.codes,
                connect_s=connect_s,
                transmit_s=transmit_s,
            )
        return DeliveryResult(
            reply_class=answer.reply_class,
            relay=self.name,
            phase=answer.phase,
            smtp=None if reply is None else reply.codes,
            retry_after_s=None if reply is None else parse_retry_hint(reply.text),
            connect_s=connect_s,
            transmit_s=transmit_s,
            detail=redact(answer.problem if reply is None else reply.text),
            is_final=is_final,
        )


def _is_last_word(answer: Answer) -> bool:
    """Whether no other relay, and no second try at once, could make a difference."""
    reply_class = answer.reply_class
    if reply_class.blames_relay or answer.phase == "local":
        return False
    return reply_class not in {ReplyClass.THROTTLED, ReplyClass.REPUTATION}
