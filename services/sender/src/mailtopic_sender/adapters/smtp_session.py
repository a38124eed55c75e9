"""One SMTP session: mails over an open link, pipelined where the relay offers it (RFC 2920)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from mailtopic_sender.adapters.smtp_link import (
    BadReply,
    LinkError,
    LinkLost,
    ReplyTimeout,
    SmtpLink,
)
from mailtopic_sender.adapters.smtp_reply import SmtpReply
from mailtopic_sender.adapters.smtp_settings import SmtpTimeouts
from mailtopic_sender.adapters.smtp_streams import Streams
from mailtopic_sender.domain.message import Message
from mailtopic_sender.domain.replies import ReplyClass, ReplyRule, classify

_ONE_WRITE_OCTETS = 49_152
"""A message up to this fits the transport's buffer together with its final dot."""
_CLOSING = 421
_USED_UP = 452
"""At MAIL, after other mails: the connection's mail limit is reached (OpenSMTPD's reply)."""

_QUICK_S = 1.0
"""A relay that replies later than this gets no envelope before its reply to the last mail."""

_PATIENCE_S = 2.0
"""The longest that a mail whose envelope went out with another's body waits for that one."""

_SEND_IT = 354
_ENVELOPE_PHASES = ("mail", "rcpt", "data")


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The relay's capabilities from its EHLO reply, and whether we are logged in."""

    pipelining: bool = False
    smtputf8: bool = False
    eight_bit_mime: bool = False
    size: bool = False
    max_octets: int = 0
    """Largest message, octets; 0 if the relay states none (RFC 1870)."""
    logged_in: bool = False


class Answer(NamedTuple):
    """The result of one transaction.

    Attributes:
        reply: the reply that decided it; None if there was none.
        problem: why there is no reply.
        stale: the connection had died before this mail reached the relay: an immediate retry on a
            new one can't make a second copy.
        hung_up: the relay ended the connection without a reply, before it had the whole mail.
        used_up: the relay accepts no more mails on this connection; on a new one it may.
    """

    reply_class: ReplyClass
    phase: str
    reply: SmtpReply | None = None
    problem: str = ""
    stale: bool = False
    hung_up: bool = False
    used_up: bool = False


class MessageSource(Protocol):
    """Gives a session its messages, and takes their results."""

    def pull(self) -> Message | None:
        """Return the next message; None: the session should stop for now. Must not block or raise.

        A message that was pulled is `answered` exactly once, unless `stream` raises.
        """
        ...

    def answered(self, message: Message, answer: Answer | None) -> None:
        """Take a message's result, in any order; must not block or raise.

        None: its body was never sent, because the session ended with the message before it.
        """
        ...


class SmtpSession:
    """An open session. One transaction at a time; it can't be reused after a failure.

    Attributes:
        capabilities: the relay's capabilities.
        opened_at_s: when it was opened, monotonic seconds.
        mails: how many mails were offered on it.
        has_waited: whether it was in the pool, so that it may have died unnoticed.
    """

    def __init__(
        self,
        link: SmtpLink,
        capabilities: Capabilities,
        timeouts: SmtpTimeouts,
        *,
        opened_at_s: float,
        reply_rules: Sequence[ReplyRule] = (),
        streams: Streams,
    ) -> None:
        self.capabilities = capabilities
        self.opened_at_s = opened_at_s
        self.mails = 0
        self.has_waited = False
        self._link = link
        self._timeouts = timeouts
        self._reply_rules = reply_rules
        self._streams = streams
        self._ends_before = streams.ends
        self._phase = "mail"
        self._needs_reset = False
        self._is_quick = False

    @property
    def is_usable(self) -> bool:
        """Whether another mail may be tried on it."""
        return self._link.is_usable

    @property
    def _is_used(self) -> bool:
        """Whether the relay may have closed it before a mail arrives."""
        return self.has_waited or self.mails > 0

    def close(self) -> None:
        """Send QUIT and close, without waiting for the reply."""
        self._link.close(b"QUIT\r\n")

    async def ask_sender(self, envelope_from: bytes) -> Answer:
        """Check whether the relay accepts mails from an address, then reset the transaction.

        The answer is `ReplyClass.ACCEPTED` if it does. Never raises, whatever the relay does. Many
        relays judge the sender only at RCPT, at the message, or by the header's From.
        """
        self._phase = "mail"
        try:
            self._link.write(b"MAIL FROM:<%b>\r\n" % envelope_from, replies=1)
            reply = await self._link.reply(self._timeouts.envelope_s)
            if reply.is_positive:
                self._link.write(b"RSET\r\n", replies=1)
                await self._confirm_reset()
                return Answer(ReplyClass.ACCEPTED, "mail", reply)
            return self._judged(reply, reused=self._is_used)
        except LinkError as error:
            self._link.abort()
            return self._broken(error, reused=self._is_used)

    async def stream(self, source: MessageSource) -> None:
        """Offer one message after the other until the source has none or the session ends.

        Each command waits for the reply to the previous one, unless the relay offers PIPELINING
        (RFC 2920). If it does and replies quickly, a body and the next envelope are sent in one
        write (RFC 2920 §3.1), so a mail costs one round trip. The next message is pulled only when
        the relay is ready for the body of the previous one.

        Never raises, whatever the relay does; when cancelled, it drops the link, and messages
        pulled but not answered have an unknown fate.
        """
        try:
            message, begun = self._pull(source), False
            while message is not None:
                following = await self._stream_one(message, source, begun=begun)
                begun = following is not None
                if not self.is_usable:
                    if following is not None:
                        source.answered(following, None)
                    return
                message = following or self._pull(source)
        except BaseException:
            self._link.abort()
            raise

    async def _stream_one(
        self, message: Message, source: MessageSource, *, begun: bool
    ) -> Message | None:
        """Bring one message to its answer; returns the next if its envelope was sent with it."""
        reused, following, is_spoilt = self._is_used, None, False
        self._phase = "mail"
        try:
            if not begun:
                self.mails += 1
            # Usually its grant came together with the reply to the previous mail.
            is_granted = begun and not self._needs_reset and self._link.take_envelope_grant()
            reply = None if is_granted else await self._offer_envelope(message, begun=begun)
            if reply is None:
                if self._may_send_ahead(message):
                    following = self._pull(source)
                sent_at_s = self._link.time_s
                await self._send_body(message, following)
                if following is not None and not await self._link.has_reply(_PATIENCE_S):
                    # Its body isn't sent, so another connection may take it: this one, on which the
                    # relay expects that body next, must not continue after this mail.
                    source.answered(following, None)
                    following, is_spoilt = None, True
                reply = await self._link.reply(self._timeouts.dot_s)
                self._is_quick = self._link.time_s - sent_at_s < _QUICK_S
                if following is not None and self._streams.is_doubted:
                    self._streams.went_well()
            answer = self._judged(reply, reused=reused)
            if is_spoilt:
                self._link.abort()
        except LinkError as error:
            self._link.abort()
            is_ahead = following is not None or is_spoilt
            if is_ahead and self._phase == "body" and isinstance(error, LinkLost):
                self._streams.ended(ends_before=self._ends_before)
            answer = self._broken(error, reused=reused)
        source.answered(message, answer)
        return following

    def _may_send_ahead(self, message: Message) -> bool:
        """Whether the next envelope may be sent with this message's body."""
        is_small = len(message.content) <= _ONE_WRITE_OCTETS
        is_allowed = self.capabilities.pipelining and self._streams.is_allowed
        return self._is_quick and is_small and is_allowed

    def _pull(self, source: MessageSource) -> Message | None:
        """Return the next message that this relay supports."""
        while (message := source.pull()) is not None:
            refused = self._refuse_locally(message)
            if refused is None:
                return message
            source.answered(message, refused)
        return None

    def _refuse_locally(self, message: Message) -> Answer | None:
        """Refuse, without traffic, what the relay's capabilities exclude."""
        offered = self.capabilities
        if message.needs_smtputf8 and not offered.smtputf8:
            reply = SmtpReply(553, "5.6.7", "the relay takes no non-ASCII addresses (SMTPUTF8)")
            return Answer(ReplyClass.CONTENT, "local", reply)
        if 0 < offered.max_octets < len(message.content):
            reply = SmtpReply(552, "5.3.4", "the message is larger than the relay takes")
            return Answer(ReplyClass.CONTENT, "local", reply)
        return None

    async def _offer_envelope(self, message: Message, *, begun: bool) -> SmtpReply | None:
        """Offer a mail without its body; returns the reply that refused it, if one did."""
        if not self.capabilities.pipelining:
            return await self._lock_step(message)
        if not begun:
            self._begin(message)
        return await self._envelope_verdict()

    def _begin(self, message: Message) -> None:
        reset = b"RSET\r\n" if self._needs_reset else b""
        self._link.write(reset + b"".join(self._envelope(message)), replies=4 if reset else 3)

    async def _envelope_verdict(self) -> SmtpReply | None:
        """Read the replies to a whole envelope; returns the one that refused it, if one did."""
        if self._needs_reset:
            await self._confirm_reset()
        elif self._link.take_envelope_grant():
            return None
        refused: tuple[str, SmtpReply] | None = None
        reply = None
        for phase in _ENVELOPE_PHASES:
            if refused is None:
                self._phase = phase
            reply = await self._follow_up(refused, self._timeouts.envelope_s)
            if reply is None:
                break
            if refused is None and not _agrees(phase, reply):
                refused = (phase, reply)
                if reply.code == _CLOSING:
                    break
        if refused is None:
            return None
        self._needs_reset = True
        if reply is not None and reply.code == _SEND_IT:
            await self._send_nothing(refused)
        self._phase = refused[0]
        return refused[1]

    async def _follow_up(
        self, refused: tuple[str, SmtpReply] | None, patience_s: float
    ) -> SmtpReply | None:
        """Return the next reply; None if it never came but the mail had been refused already."""
        try:
            return await self._link.reply(patience_s)
        except LinkError:
            if refused is None:
                raise
            self._link.abort()
            return None

    async def _send_nothing(self, refused: tuple[str, SmtpReply]) -> None:
        """End an empty DATA that was granted although the recipient wasn't (RFC 2920 §3.1)."""
        self._link.write(b".\r\n", replies=1)
        await self._follow_up(refused, self._timeouts.dot_s)

    async def _lock_step(self, message: Message) -> SmtpReply | None:
        """Send each command after the reply to the previous one."""
        if self._needs_reset:
            self._link.write(b"RSET\r\n", replies=1)
            await self._confirm_reset()
        for phase, command in zip(_ENVELOPE_PHASES, self._envelope(message), strict=True):
            self._phase = phase
            self._link.write(command, replies=1)
            reply = await self._link.reply(self._timeouts.envelope_s)
            if not _agrees(phase, reply):
                self._needs_reset = phase != "mail"
                return reply
        return None

    async def _confirm_reset(self) -> None:
        reply = await self._link.reply(self._timeouts.envelope_s)
        if not reply.is_positive:
            raise BadReply("RSET was refused")
        self._needs_reset = False

    def _envelope(self, message: Message) -> tuple[bytes, bytes, bytes]:
        offered = self.capabilities
        options = b" SIZE=%d" % len(message.content) if offered.size else b""
        if message.needs_smtputf8:
            options += b" BODY=8BITMIME SMTPUTF8" if offered.eight_bit_mime else b" SMTPUTF8"
        return (
            b"MAIL FROM:<%b>%b\r\n" % (message.envelope_from, options),
            b"RCPT TO:<%b>\r\n" % message.envelope_to,
            b"DATA\r\n",
        )

    async def _send_body(self, message: Message, following: Message | None) -> None:
        """Send a message, and the envelope of the next."""
        content = dot_stuffed(message.content)
        if following is not None:
            self._link.write(b"".join((content, b".\r\n", *self._envelope(following))), replies=4)
            self.mails += 1
        elif len(content) <= _ONE_WRITE_OCTETS:
            self._link.write(content + b".\r\n", replies=1)
        else:
            # Until the dot is written, a broken link can't have delivered anything.
            self._link.write(content, replies=0)
            await self._link.drain(self._timeouts.block_s)
            self._link.write(b".\r\n", replies=1)
        self._phase = "body"

    def _judged(self, reply: SmtpReply, *, reused: bool) -> Answer:
        phase = self._phase
        reply_class = classify(
            reply.code,
            reply.enhanced,
            phase,
            reply.text,
            logged_in=self.capabilities.logged_in,
            rules=self._reply_rules,
        )
        if reply_class is ReplyClass.ACCEPTED:
            return Answer(reply_class, phase, reply)
        used_up = reply.code == _USED_UP and phase == "mail" and self.mails > 1
        if (
            used_up
            or reply.code == _CLOSING
            or reply_class in {ReplyClass.PROTOCOL, ReplyClass.CLOSING}
        ):
            self._link.close()
        stale = reused and phase == "mail" and reply_class is ReplyClass.CLOSING
        return Answer(reply_class, phase, reply, stale=stale, used_up=used_up)

    def _broken(self, error: LinkError, *, reused: bool) -> Answer:
        phase = self._phase
        if phase == "body":
            return Answer(ReplyClass.UNKNOWN, phase, problem=str(error))
        if isinstance(error, BadReply):
            return Answer(ReplyClass.PROTOCOL, phase, problem=str(error))
        hung_up = not isinstance(error, ReplyTimeout)
        stale = reused and phase == "mail" and hung_up
        return Answer(ReplyClass.CLOSING, phase, problem=str(error), stale=stale, hung_up=hung_up)


def dot_stuffed(content: bytes) -> bytes:
    """Return a message with every leading dot doubled (RFC 5321 §4.5.2)."""
    stuffed = content.replace(b"\r\n.", b"\r\n..") if b"\r\n." in content else content
    return b"." + stuffed if stuffed.startswith(b".") else stuffed


def _agrees(phase: str, reply: SmtpReply) -> bool:
    return reply.code == _SEND_IT if phase == "data" else reply.is_positive
