"""SMTP sessions that lead nowhere, for tests of what keeps them."""

import asyncio

from mailtopic_runtime import Clock, get_logger
from mailtopic_sender.adapters.smtp_link import SmtpLink
from mailtopic_sender.adapters.smtp_session import Capabilities, SmtpSession
from mailtopic_sender.adapters.smtp_settings import SmtpTimeouts
from mailtopic_sender.adapters.smtp_streams import Streams


class DeadEnd(asyncio.Transport):
    """A transport with a silent peer."""

    def __init__(self) -> None:
        super().__init__()
        self._is_closing = False

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        del protocol

    def write(self, data: bytes | bytearray | memoryview) -> None:
        del data

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        self._is_closing = True

    def abort(self) -> None:
        self._is_closing = True


def session(clock: Clock) -> SmtpSession:
    """An open session; must be called while a loop runs."""
    return SmtpSession(
        SmtpLink(DeadEnd()),
        Capabilities(),
        SmtpTimeouts(),
        opened_at_s=clock.monotonic_s(),
        streams=Streams("dead end", log=get_logger("test")),
    )
