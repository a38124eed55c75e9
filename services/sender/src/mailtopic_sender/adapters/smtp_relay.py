"""A `Relay` that is an SMTP server: sessions that pull mails while there are any."""

import asyncio
from typing import cast

from mailtopic_runtime import Clock, Span, SpanKind, SystemClock, get_logger, now_ns
from mailtopic_sender.adapters.smtp_opening import SessionOpener, SessionRefused
from mailtopic_sender.adapters.smtp_pool import SmtpPool
from mailtopic_sender.adapters.smtp_session import Answer, SmtpSession
from mailtopic_sender.adapters.smtp_settings import RelaySettings
from mailtopic_sender.domain.message import Message
from mailtopic_sender.domain.replies import ReplyClass
from mailtopic_sender.domain.reply_text import parse_retry_hint, redact
from mailtopic_sender.engine.relays.port import Connections, Feed, Offer, Place, RelayLimits
from mailtopic_sender.mail_ports import DeliveryResult

_CLOSING = 421


class SmtpRelay:
    """Sends mails over sessions of one SMTP server, with one task per session and none per mail.

    Attributes:
        starting: how many workers look for a session.
    """

    def __init__(self, relay: RelaySettings, *, clock: Clock | None = None) -> None:
        """Prepare; nothing is opened yet.

        Raises:
            SettingError: the relay's CA file can't be used.
        """
        self.name = relay.name
        self.limits = RelayLimits(
            relay.rate_per_s, relay.max_connections, relay.mails_per_connection
        )
        self.server = (relay.host, relay.port)
        self._clock = clock or SystemClock()
        self._log = get_logger("mailtopic_sender.smtp")
        self._opener = SessionOpener(relay, clock=self._clock, log=self._log)
        self._pool = SmtpPool(
            relay,
            self._open,
            clock=self._clock,
            is_full=lambda number: self._feed.is_full(number),  # noqa: PLW0108 - attached later
        )
        self._feed: Feed
        self._workers: set[asyncio.Task[None]] = set()
        self.starting = 0
        self._has_opening_bug = False
        self._is_closed = False

    @property
    def connections(self) -> Connections:
        """See `Relay.connections`."""
        return self._pool.connections

    def attach(self, feed: Feed) -> None:
        """See `Relay.attach`."""
        self._feed = feed

    def limit(self, *, connections: int, mails_per_connection: int) -> None:
        """See `Relay.limit`."""
        self._pool.set_limits(connections=connections, mails_each=mails_per_connection)

    def wake(self, mails: int) -> None:
        """See `Relay.wake`: start as many workers as there are mails, within the limits."""
        while self.starting < mails and len(self._workers) < self._pool.limit:
            if self._is_closed:
                return
            self.starting += 1
            worker = asyncio.create_task(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    async def probe(self) -> DeliveryResult | None:
        """See `Relay.probe`: opens a session, which is used later."""
        try:
            session = await self._open()
        except SessionRefused as refused:
            return _result(refused.answer, self.name)
        self._pool.adopt(session)
        return None

    @property
    def login_problem(self) -> str | None:
        """See `Relay.login_problem`."""
        return self._opener.problem

    async def pause(self, pause_s: float) -> None:
        """See `Relay.pause`: a changed file with credentials ends it."""
        await self._opener.pause(pause_s)

    async def close(self) -> None:
        """See `Relay.close`."""
        self._is_closed = True
        await self._opener.close()
        self._pool.close()
        for worker in tuple(self._workers):
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    async def _open(self) -> SmtpSession:
        try:
            session = await self._opener.open()
        except SessionRefused:
            raise
        except Exception as error:  # noqa: BLE001 - a bug must not stop the relay
            # Like an unreachable relay, so that it is tried less and less often.
            if not self._has_opening_bug:
                self._log.error("smtp.bug", relay=self.name, exc_info=error)
            self._has_opening_bug = True
            problem = "the sender failed to open a session"
            raise SessionRefused(Answer(ReplyClass.TRANSPORT, "connect", problem=problem)) from None
        self._has_opening_bug = False
        self._feed.connected()
        return session

    async def _work(self) -> None:
        is_starting = True
        try:
            while not self._is_closed and self._feed.has_mails:
                began_ns = now_ns()
                try:
                    session = await self._pool.acquire()
                finally:
                    self.starting -= is_starting
                    is_starting = False
                if session is None:
                    break
                run = _Run(self, self._feed, self._pool, session, began_ns)
                await self._stream(session, run)
                is_starting = run.is_looking
                if run.is_over:
                    break
        except SessionRefused as refused:
            self._feed.refused(_result(refused.answer, self.name))
        except Exception as error:  # noqa: BLE001 - a bug must not stop the relay
            self._log.error("smtp.bug", exc_info=error)
        finally:
            self.starting -= is_starting
            # At once, not in a callback in the next turn: a mail may arrive in between.
            self._workers.discard(cast("asyncio.Task[None]", asyncio.current_task()))

    async def _stream(self, session: SmtpSession, run: "_Run") -> None:
        """Send mails on a session."""
        try:
            await session.stream(run)
        except BaseException as error:
            run.fail()
            if isinstance(error, asyncio.CancelledError):
                raise
            # A bug must cost one mail, not the relay.
            self._log.error("smtp.bug", exc_info=error)
        finally:
            self._pool.release(session)


class _Run:
    """One session's run through the mails: its `MessageSource`.

    Attributes:
        is_over: whether there was no mail to send, as opposed to a session that has ended.
        is_looking: whether the session has ended, and its worker counts as a starting one.
    """

    def __init__(
        self, relay: SmtpRelay, feed: Feed, pool: SmtpPool, session: SmtpSession, began_ns: int
    ) -> None:
        self.is_over = False
        self.is_looking = False
        self._relay = relay
        self._feed = feed
        self._pool = pool
        self._session = session
        self._began_ns = began_ns
        self._under_way: dict[int, _Transaction] = {}

    def pull(self) -> Message | None:
        """See `MessageSource.pull`."""
        if self._pool.wants_back(self._session):
            return None
        offer = self._feed.pull()
        if offer is None:
            self.is_over = True
            return None
        session = self._session
        is_used = session.mails > 0 or session.has_waited
        transaction = _Transaction(offer, session.mails + 1, is_used=is_used)
        if offer.span is not None:
            transaction.begin_spans(self._relay, offer.span, self._began_ns)
        self._under_way[id(offer.message)] = transaction
        return offer.message

    def answered(self, message: Message, answer: Answer | None) -> None:
        """See `MessageSource.answered`."""
        transaction = self._under_way.pop(id(message))
        transaction.end_spans(self._relay, answer)
        has_ended = not self._session.is_usable
        if has_ended and not self.is_looking:
            self.is_looking = True
            self._relay.starting += 1  # it needs no help
        if answer is None:
            self._feed.unsent(transaction.offer)
            return
        place = Place(transaction.number, transaction.is_used, has_ended)
        if answer.stale and place.number == 1:
            self._pool.discard_idle()
        report = self._feed.unheard if _is_unheard(answer, place) else self._feed.answered
        report(transaction.offer, _result(answer, self._relay.name), place)

    def fail(self) -> None:
        """Report mails under way as of unknown fate: the driver itself has failed."""
        for transaction in list(self._under_way.values()):
            answer = Answer(ReplyClass.UNKNOWN, "body", problem="the sender gave up on it")
            self.answered(transaction.offer.message, answer)


class _Transaction:
    """A mail that is under way on a session, with its spans if its trace is sampled."""

    __slots__ = ("_attempt", "_span", "is_used", "number", "offer")

    def __init__(self, offer: Offer, number: int, *, is_used: bool) -> None:
        self.offer = offer
        self.number = number
        self.is_used = is_used
        self._attempt: Span | None = None
        self._span: Span | None = None

    def begin_spans(self, relay: SmtpRelay, parent: Span, session_began_ns: int) -> None:
        """Start the attempt's spans; the session's opening is part of its first mail's."""
        is_first = not self.is_used
        start_ns = session_began_ns if is_first else None
        self._attempt = parent.part("smtp attempt", SpanKind.CLIENT, start_ns=start_ns)
        if is_first:
            with self._attempt.part(
                "smtp session open", SpanKind.CLIENT, start_ns=session_began_ns
            ) as opening:
                _describe(opening, relay)
        self._span = self._attempt.part("smtp transaction", SpanKind.CLIENT)

    def end_spans(self, relay: SmtpRelay, answer: Answer | None) -> None:
        """End them, if there are any."""
        for span in (self._span, self._attempt):
            if span is not None:
                _describe(span, relay, answer)
                span.__exit__(None, None, None)


def _describe(span: Span, relay: SmtpRelay, answer: Answer | None = None) -> None:
    """Set a recorded span's server and reply."""
    host, port = relay.server
    span.set("server.address", host)
    span.set("server.port", port)
    span.set("mailtopic.relay", relay.name)
    if answer is None:
        return
    span.set("mailtopic.smtp.phase", answer.phase)
    # Only the codes: the text is the relay's own and may contain the recipient.
    span.set("mailtopic.smtp.reply", answer.reply.codes if answer.reply else None)
    span.set("mailtopic.smtp.reply_class", answer.reply_class.value)
    if answer.reply_class is not ReplyClass.ACCEPTED:
        span.fail(answer.reply_class.value)


def _result(answer: Answer, relay: str) -> DeliveryResult:
    reply = answer.reply
    smtp = None if reply is None else reply.codes
    if answer.reply_class is ReplyClass.ACCEPTED:
        return DeliveryResult(ReplyClass.ACCEPTED, relay, answer.phase, smtp)
    return DeliveryResult(
        reply_class=answer.reply_class,
        relay=relay,
        phase=answer.phase,
        smtp=smtp,
        retry_after_s=None if reply is None else parse_retry_hint(reply.text),
        detail=redact(answer.problem if reply is None else reply.text),
    )


def _is_unheard(answer: Answer, place: Place) -> bool:
    """Whether the connection ended before the relay can have accepted or processed the mail.

    Then the mail may be sent at once on another connection. "Too fast" at the first mail of a
    connection isn't about the connection, and a reply to RCPT or DATA is about the mail.
    """
    reply = answer.reply
    if answer.reply_class is ReplyClass.CLOSING:
        return answer.hung_up or (answer.phase == "mail" and reply is not None)
    if answer.phase != "mail" or reply is None:
        return False
    is_throttled = answer.reply_class is ReplyClass.THROTTLED and reply.code == _CLOSING
    return answer.used_up or (is_throttled and place.number > 1)
