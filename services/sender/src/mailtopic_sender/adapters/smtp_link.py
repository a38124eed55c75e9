"""The transport of one open SMTP session: commands out, complete replies in."""

import asyncio
from collections import deque
from typing import cast

from mailtopic_sender.adapters.smtp_reply import (
    MAX_REPLY_OCTETS,
    POSITIVE,
    NoReply,
    ReplyReader,
    SmtpReply,
)

_ENVELOPE = 3
_SEND_IT = 354


class LinkError(Exception):
    """The link can't be used any more; str is a short reason."""


class LinkLost(LinkError):  # noqa: N818 - an event, in the field's terms
    """The connection is gone."""


class ReplyTimeout(LinkError):  # noqa: N818 - the same
    """No complete reply came in time."""


class BadReply(LinkError):  # noqa: N818 - the same
    """The input isn't an SMTP reply, is too long, or is unsolicited."""


class SmtpLink(asyncio.Protocol):
    """Takes over an open transport: `asyncio.Transport.set_protocol` makes it the receiver.

    One task may use it at a time. After any LinkError it can't be used any more.
    """

    def __init__(self, transport: asyncio.BaseTransport) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = cast("asyncio.Transport", transport)
        self._rest = b""
        self._reader = ReplyReader()
        self._replies: deque[SmtpReply] = deque()
        self._expected = 0
        self._failure: LinkError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline_s = 0.0
        self._is_deadline_final = True
        self._paused = False
        self._transport.set_protocol(self)

    @property
    def is_usable(self) -> bool:
        """Whether no reason against sending on it is known; the peer may still be gone."""
        return self._failure is None and not self._transport.is_closing()

    def write(self, data: bytes, *, replies: int) -> None:
        """Send; `replies` is the number of replies to expect.

        Raises:
            LinkError: the link is known to be unusable; nothing was sent.
        """
        if self._failure is not None:
            raise self._failure
        if self._transport.is_closing():
            raise LinkLost("connection closed")
        self._expected += replies
        self._transport.write(data)

    async def drain(self, timeout_s: float) -> None:
        """Wait until most of what was written is on its way.

        Raises:
            LinkError: it is lost, or timeout_s seconds passed.
        """
        while self._paused:
            await self._wait(timeout_s)
            if self._failure is not None:
                raise self._failure

    def take_envelope_grant(self) -> bool:
        """Take the replies to MAIL, RCPT and DATA if all have arrived and are positive."""
        replies = self._replies
        if len(replies) < _ENVELOPE or self._failure is not None:
            return False
        mail, rcpt, data = replies[0].code, replies[1].code, replies[2].code
        if mail not in POSITIVE or rcpt not in POSITIVE or data != _SEND_IT:
            return False
        for _ in range(_ENVELOPE):
            replies.popleft()
        return True

    async def reply(self, timeout_s: float) -> SmtpReply:
        """Return the next reply in order.

        Raises:
            LinkError: it is lost, timeout_s seconds passed, or the input isn't a reply.
        """
        while not self._replies:
            if self._failure is not None:
                raise self._failure
            await self._wait(timeout_s)
        return self._replies.popleft()

    async def has_reply(self, timeout_s: float) -> bool:
        """Wait for a reply; returns whether it came in time. The link stays usable if not.

        Raises:
            LinkError: it is lost, or the input isn't a reply.
        """
        self._is_deadline_final = False
        deadline_s = self.time_s + timeout_s
        try:
            while not self._replies and self.time_s < deadline_s:
                if self._failure is not None:
                    raise self._failure
                await self._wait(deadline_s - self.time_s)
        finally:
            self._is_deadline_final = True
        return bool(self._replies)

    @property
    def time_s(self) -> float:
        """The loop's time, seconds."""
        return self._loop.time()

    def close(self, farewell: bytes = b"") -> None:
        """Close after the farewell is sent, without waiting for the peer's reply."""
        if farewell and self.is_usable:
            self._transport.write(farewell)
        self._fail(LinkLost("connection closed"))
        self._transport.close()

    def abort(self) -> None:
        """Drop the connection at once."""
        self._fail(LinkLost("connection closed"))
        self._transport.abort()

    async def _wait(self, timeout_s: float) -> None:
        waiter = self._waiter = self._loop.create_future()
        self._set_deadline(self._loop.time() + timeout_s)
        try:
            await waiter
        finally:
            self._waiter = None

    def _set_deadline(self, deadline_s: float) -> None:
        """Make sure that a timer fires by then."""
        # Called for every mail, so the timer isn't restarted: a running one may fire too soon.
        self._deadline_s = deadline_s
        if self._timer is not None:
            if self._timer.when() <= deadline_s:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline_s, self._look_at_clock)

    def _look_at_clock(self) -> None:
        self._timer = None
        if self._waiter is None:
            return
        if self._loop.time() < self._deadline_s:
            self._set_deadline(self._deadline_s)
        elif not self._is_deadline_final:
            self._wake()
        else:
            self._fail(ReplyTimeout("no reply in time"))

    def _stop_clock(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, failure: LinkError) -> None:
        if self._failure is None:
            self._failure = failure
        self._stop_clock()
        self._wake()

    # asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        """Split lines, and collect them into replies."""
        if self._failure is not None:
            return
        try:
            self._read(data)
        except NoReply:
            self._fail(BadReply("what came is no SMTP reply, or too long"))
            self._transport.abort()
        else:
            if self._replies:
                self._wake()

    def _read(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            reply = self._reader.read(line)
            if reply is not None:
                self._take(reply)
        if len(self._rest) + self._reader.size > MAX_REPLY_OCTETS:
            raise NoReply

    def _take(self, reply: SmtpReply) -> None:
        if self._expected == 0:
            # Between mails, a relay sends a reply only to close (421); an unsolicited reply would
            # be taken for the next command's.
            self._fail(LinkLost("the relay closed the connection"))
            return
        self._expected -= 1
        self._replies.append(reply)

    def eof_received(self) -> bool:
        """The peer has finished sending; let the transport close."""
        self._fail(LinkLost("the relay closed the connection"))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, for any reason."""
        del exc
        self._paused = False
        self._fail(LinkLost("connection lost"))

    def pause_writing(self) -> None:
        """The transport's buffer is full."""
        self._paused = True

    def resume_writing(self) -> None:
        """The transport's buffer has room."""
        self._paused = False
        self._wake()
