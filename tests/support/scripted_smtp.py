"""An SMTP server that says what a script makes it say, and keeps account of what is true.

It understands its client as it should; only its answers are wild: refusals, nonsense, silence, a
cut connection, in pieces of any size. So a test can hold what a sender believes against what the
server really did with each recipient's mail.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

PHASES = ("mail", "rcpt", "data", "dot")
_USUAL = {
    "mail": b"250 2.1.0 ok\r\n",
    "rcpt": b"250 2.1.5 ok\r\n",
    "data": b"354 go on\r\n",
    "dot": b"250 2.0.0 taken\r\n",
}


@dataclass(frozen=True, slots=True)
class Act:
    """What the server does in place of its usual answer.

    Attributes:
        says: octet by octet what it sends; nothing for silence.
        hangs_up: whether it cuts the connection then.
        takes: for ``dot``: whether it takes the mail.
    """

    says: bytes = b""
    hangs_up: bool = False
    takes: bool = False


@dataclass(slots=True)
class Offered:
    """One attempt to hand a mail over, as the server knows it.

    Attributes:
        said: what it answered to RCPT, DATA and the dot, as far as that came.
        taken: whether it took the mail.
        content: what came before the dot, if the dot came.
    """

    said: dict[str, bytes] = field(default_factory=dict)
    taken: bool = False
    content: bytes | None = None


Script = Callable[[str, str], Act | None]
"""Phase and recipient (as far as known, else empty) → what to do; None for the usual."""


class ScriptedSmtp:
    """The server, in the clear.

    Attributes:
        offered: every attempt that reached RCPT, by recipient.
        connections: how many were made.
        in_pieces_of: octets that it writes at a time; None for all that there is to say.
        forgets_refusals: whether it grants DATA although no recipient was taken.
    """

    def __init__(self, script: Script, *, pipelining: bool = True) -> None:
        self.script = script
        self.offered: defaultdict[str, list[Offered]] = defaultdict(list)
        self.connections = 0
        self.in_pieces_of: int | None = None
        self.forgets_refusals = False
        self.host = "127.0.0.1"
        self.port = 0
        self.greeting = b"220 scripted.test\r\n"
        self.capabilities = b"250-scripted.test\r\n250-8BITMIME\r\n" + (
            b"250-PIPELINING\r\n250 SIZE\r\n" if pipelining else b"250 SIZE\r\n"
        )
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, self.host, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is not None:
            self._server.close()
        for talk in tuple(self._talks):
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)

    def taken(self, recipient: str) -> int:
        """How often it took this recipient's mail."""
        return sum(one.taken for one in self.offered[recipient])

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        talk = asyncio.create_task(_Talk(self, reader, writer).run())
        self._talks.add(talk)

        def end(ended: asyncio.Task[None]) -> None:
            # Here: a task that is cancelled before it began cleans nothing up.
            writer.transport.abort()
            self._talks.discard(ended)

        talk.add_done_callback(end)


class _HangUp(Exception):  # noqa: N818 - what the server does
    pass


class _Talk:
    """One connection."""

    def __init__(
        self, server: ScriptedSmtp, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer
        self._has_sender = False
        self._recipient = ""
        self._current: Offered | None = None

    async def run(self) -> None:
        try:
            await self._say(self._server.greeting)
            while True:
                line = await self._reader.readuntil(b"\r\n")
                await self._obey(line.rstrip(b"\r\n"))
        except (_HangUp, OSError, asyncio.IncompleteReadError):
            pass

    async def _obey(self, line: bytes) -> None:
        verb = line.split(b" ")[0].split(b":")[0].upper()
        if verb in {b"EHLO", b"HELO"}:
            await self._say(self._server.capabilities)
        elif verb == b"MAIL":
            self._has_sender = await self._act("mail")
        elif verb == b"RCPT":
            await self._take_recipient(line)
        elif verb == b"DATA":
            await self._data()
        elif verb == b"RSET":
            self._has_sender, self._current = False, None
            await self._say(b"250 2.0.0 ok\r\n")
        elif verb == b"QUIT":
            await self._say(b"221 2.0.0 bye\r\n")
            raise _HangUp
        else:
            await self._say(b"500 5.5.2 what?\r\n")

    async def _take_recipient(self, line: bytes) -> None:
        if not self._has_sender:
            await self._say(b"503 5.5.1 MAIL first\r\n")
            return
        self._recipient = line.partition(b"<")[2].rpartition(b">")[0].decode()
        self._current = Offered()
        self._server.offered[self._recipient].append(self._current)
        if not await self._act("rcpt"):
            self._current = None

    async def _data(self) -> None:
        if self._current is None and not self._server.forgets_refusals:
            await self._say(b"503 5.5.1 RCPT first\r\n")
        elif self._current is None:
            await self._say(b"354 go on\r\n")
            await self._read_content()
            self._has_sender = False
            await self._say(b"554 5.5.1 no valid recipients\r\n")
        elif await self._act("data"):
            self._current.content = await self._read_content()
            self._has_sender = False
            await self._act("dot")
            self._current = None

    async def _read_content(self) -> bytes:
        lines = []
        while (line := await self._reader.readuntil(b"\r\n")) != b".\r\n":
            lines.append(line.removeprefix(b"."))
        return b"".join(lines)

    async def _act(self, phase: str) -> bool:
        """Do what the script says, or the usual; return whether the answer was positive."""
        recipient = "" if phase == "mail" else self._recipient
        act = self._server.script(phase, recipient)
        current = None if phase == "mail" else self._current
        says = _USUAL[phase] if act is None else act.says
        if current is not None:
            current.said[phase] = says
            current.taken = phase == "dot" and (act is None or act.takes)
        await self._say(says)
        if act is not None and (act.hangs_up or not says):
            if not act.hangs_up:
                await self._reader.read()  # for ever: not another word
            raise _HangUp
        return says[:1] == _USUAL[phase][:1]

    async def _say(self, words: bytes) -> None:
        size = self._server.in_pieces_of or len(words) or 1
        for start in range(0, len(words), size):
            self._writer.write(words[start : start + size])
            await self._writer.drain()
            # So that the next piece travels by itself: as long as the client's loop runs between.
            await asyncio.sleep(0)
