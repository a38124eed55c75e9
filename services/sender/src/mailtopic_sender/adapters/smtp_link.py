"""The wire of one SMTP session, once it is open: commands out, whole replies in."""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import cast

from mailtopic_sender.domain.reply_text import split_enhanced

MAX_REPLY_OCTETS = 32_768
"""No honest reply is longer; RFC 5321 §4.5.3.1.5 limits a line to 512."""


@dataclass(frozen=True, slots=True)
class SmtpReply:
    """A complete reply; `text` has its lines joined by spaces, without the codes."""

    code: int
    enhanced: str | None
    text: str

    @property
    def codes(self) -> str:
        """Basic and enhanced code, e.g. ``451 4.7.1``; nothing of the text."""
        return f"{self.code} {self.enhanced}" if self.enhanced else f"{self.code}"

    @property
    def is_positive(self) -> bool:
        """Whether the basic code is 2xx."""
        return 200 <= self.code < 300  # noqa: PLR2004 - RFC 5321 §4.2.1


class LinkError(Exception):
    """The link can't be used any more; str is a short reason."""


class LinkLost(LinkError):  # noqa: N818 - an event, told in the words of the trade
    """The connection is gone."""


class ReplyTimeout(LinkError):  # noqa: N818 - the same
    """No complete reply came in time."""


class BadReply(LinkError):  # noqa: N818 - the same
    """What came is no SMTP reply, too long, or was not asked for."""


class SmtpLink(asyncio.Protocol):
    """Takes an open transport over: `asyncio.Transport.set_protocol` makes it the receiver.

    One task may use it at a time. After any LinkError it is of no further use.
    """

    def __init__(self, transport: asyncio.BaseTransport) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = cast("asyncio.Transport", transport)
        self._buffer = bytearray()
        self._lines: list[str] = []
        self._code = 0
        self._size = 0
        self._replies: deque[SmtpReply] = deque()
        self._expected = 0
        self._failure: LinkError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._paused = False
        self._transport.set_protocol(self)

    @property
    def is_usable(self) -> bool:
        """Whether nothing is known against sending on it: no promise that the peer is there."""
        return self._failure is None and not self._transport.is_closing()

    def write(self, data: bytes, *, replies: int) -> None:
        """Send; `replies` is how many replies that will cause.

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

    async def reply(self, timeout_s: float) -> SmtpReply:
        """Return the next reply in order.

        Raises:
            LinkError: it is lost, timeout_s seconds passed, or what came is no reply.
        """
        while not self._replies:
            if self._failure is not None:
                raise self._failure
            await self._wait(timeout_s)
        return self._replies.popleft()

    def close(self, farewell: bytes = b"") -> None:
        """Close, after the farewell is sent; the peer's answer isn't waited for."""
        if farewell and self.is_usable:
            self._transport.write(farewell)
        self._fail(LinkLost("connection closed"))
        self._transport.close()

    def abort(self) -> None:
        """Drop the connection at once."""
        self._fail(LinkLost("connection closed"))
        self._transport.abort()

    async def _wait(self, timeout_s: float) -> None:
        # A timer per wait instead of asyncio.timeout: a third of its price, and this is the one
        # place that every mail passes several times.
        waiter = self._waiter = self._loop.create_future()
        timer = self._loop.call_later(timeout_s, self._time_out)
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiter = None

    def _time_out(self) -> None:
        self._fail(ReplyTimeout("no reply in time"))

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, failure: LinkError) -> None:
        if self._failure is None:
            self._failure = failure
        self._wake()

    # asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        """Cut lines, collect them into replies."""
        if self._failure is not None:
            return
        buffer = self._buffer
        buffer += data
        start = 0
        while (end := buffer.find(b"\n", start)) >= 0:
            line = bytes(buffer[start:end])
            start = end + 1
            if not self._take_line(line):
                self._fail(BadReply("what came is no SMTP reply, or too long"))
                self._transport.abort()
                return
        del buffer[:start]
        if len(buffer) + self._size > MAX_REPLY_OCTETS:
            self._fail(BadReply("what came is no SMTP reply, or too long"))
            self._transport.abort()
            return
        if self._replies:
            self._wake()

    def _take_line(self, line: bytes) -> bool:
        """Add a line to the reply it belongs to; False if it is none (RFC 5321 §4.2)."""
        text = line.decode("ascii", "replace").rstrip("\r")
        self._size += len(line)
        if self._size > MAX_REPLY_OCTETS or not line[:3].isdigit():
            return False
        if text[3:4] not in {"", " ", "-"}:
            return False
        code = int(line[:3])
        if self._lines and code != self._code:
            return False
        self._code = code
        self._lines.append(text[4:])
        if text[3:4] != "-":
            self._complete()
        return True

    def _complete(self) -> None:
        enhanced, first = split_enhanced(self._lines[0])
        rest = [split_enhanced(line)[1] for line in self._lines[1:]]
        self._lines.clear()
        self._size = 0
        if self._expected == 0:
            # Between mails, a relay only speaks to say goodbye (421); a reply that nobody asked
            # for would be taken for the next command's.
            self._fail(LinkLost("the relay closed the connection"))
            return
        self._expected -= 1
        self._replies.append(SmtpReply(self._code, enhanced, " ".join([first, *rest])))

    def eof_received(self) -> bool:
        """Nothing more will come; let the transport close."""
        self._fail(LinkLost("the relay closed the connection"))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, in whatever way."""
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
