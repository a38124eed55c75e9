"""A pool of aiosmtplib's sessions, each opened once and used for mail after mail."""

import asyncio

import aiosmtplib
from original_settings import CONNECTIONS, HOST, PORT, SENDER, tls


class Sessions:
    """Opens a session when none is free, up to CONNECTIONS."""

    def __init__(self) -> None:
        self._free: asyncio.LifoQueue[aiosmtplib.SMTP] = asyncio.LifoQueue()
        self._opened = 0
        self._tls = tls()

    async def send(self, recipient: str, message: bytes) -> None:
        """Send a mail over a session that is free."""
        session = await self._take()
        await session.sendmail(SENDER, [recipient], message)
        self._free.put_nowait(session)

    async def _take(self) -> aiosmtplib.SMTP:
        if self._free.empty() and self._opened < CONNECTIONS:
            self._opened += 1
            return await open_session(self._tls)
        return await self._free.get()


async def open_session(context: "object") -> aiosmtplib.SMTP:
    """Connect, with STARTTLS."""
    session = aiosmtplib.SMTP(hostname=HOST, port=PORT, start_tls=True, tls_context=context)
    await session.connect()
    return session
