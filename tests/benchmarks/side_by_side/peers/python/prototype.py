"""The bare prototype: as fast as aiokafka and asyncio can pipeline, and nothing besides.

Sessions are opened by aiosmtplib and then spoken by a protocol that writes MAIL, RCPT and DATA at
once, then the body, and looks at the codes 354 and 250 only. A refused mail ends the process.
"""

import asyncio
from typing import Any

import uvloop
from aiokafka import AIOKafkaConsumer
from commits import Progress, commit_often
from original_settings import BROKERS, CONNECTIONS, GROUP, SENDER, TOPIC, tls
from sessions import open_session
from template import recipient_and_message

_DOT = b".\r\n"


class Pipelined(asyncio.Protocol):
    """A session after its greeting."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._received = b""
        self._replies = 0
        self._expected = b""
        self._waiter: asyncio.Future[None] | None = None

    def data_received(self, data: bytes) -> None:
        """Count replies; the last one's code is what was hoped for."""
        self._received += data
        *lines, self._received = self._received.split(b"\r\n")
        if not lines:
            return
        self._replies -= len(lines)
        if self._replies == 0 and self._waiter is not None:
            if lines[-1].startswith(self._expected):
                self._waiter.set_result(None)
            else:
                self._waiter.set_exception(RuntimeError("the relay refuses"))

    async def send(self, recipient: str, message: bytes) -> None:
        """Send a mail: two writes, two round trips."""
        envelope = f"MAIL FROM:<{SENDER}> BODY=8BITMIME\r\nRCPT TO:<{recipient}>\r\nDATA\r\n"
        await self._say(envelope.encode(), 3, b"354")
        await self._say(message + _DOT, 1, b"250")

    async def _say(self, data: bytes, replies: int, expected: bytes) -> None:
        self._replies, self._expected = replies, expected
        self._waiter = asyncio.get_running_loop().create_future()
        self._transport.write(data)
        await self._waiter


async def opened() -> Pipelined:
    """Open a session and take its transport over."""
    session = await open_session(tls())
    protocol = Pipelined(session.transport)
    session.transport.set_protocol(protocol)
    return protocol


async def main() -> None:
    """Consume for ever."""
    consumer = AIOKafkaConsumer(
        TOPIC,
        bootstrap_servers=BROKERS,
        group_id=GROUP,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    progress = Progress()
    records: asyncio.Queue = asyncio.Queue(4 * CONNECTIONS)

    async def work() -> None:
        session = await opened()
        while True:
            place, record = await records.get()
            await session.send(*recipient_and_message(record.value))
            progress.done(place, record.offset)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(commit_often(consumer, progress))
        for _ in range(CONNECTIONS):
            tasks.create_task(work())
        while True:
            for place, batch in (await consumer.getmany(timeout_ms=200, max_records=500)).items():
                for record in batch:
                    progress.begun(place, record.offset)
                    await records.put((place, record))


uvloop.run(main())
