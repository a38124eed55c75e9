"""One connection of the test relay: what it says and how it misbehaves; see `smtp_relay`."""

import asyncio
import base64
import binascii
import email
import email.policy
import hashlib
import json
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from support.smtp_relay import SmtpRelay

PHASES = ("connect", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "body", "dot")


@dataclass
class Fault:
    """One way to misbehave.

    Attributes:
        phase: when, one of PHASES; ``body`` is on the first octets of the content.
        reply: what to say instead, e.g. ``451 4.7.1 Later``, lines ended by CRLF; None: nothing
            more, ever.
        drop: cut the connection (after the reply, if there is one). A 421 always does.
        accept: for ``dot``: record the mail all the same.
        recipient: only for this envelope recipient (phases rcpt to dot).
        times: how often; None for always.
        probability: how likely, each time.
    """

    phase: str
    reply: str | None = None
    drop: bool = False
    accept: bool = False
    recipient: str | None = None
    times: int | None = None
    probability: float = 1.0


@dataclass(frozen=True)
class ReceivedMail:
    """A mail that was accepted."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes = field(repr=False)
    received_at: float
    connection: int
    login: str | None
    encrypted: bool
    mail_options: tuple[str, ...]

    def message(self) -> EmailMessage:
        """The content, parsed."""
        return email.message_from_bytes(self.content, policy=email.policy.default)

    def as_json(self) -> str:
        """One line for the spool."""
        return json.dumps(
            {
                "at": self.received_at,
                "sender": self.sender,
                "recipients": self.recipients,
                "connection": self.connection,
                "login": self.login,
                "sha256": hashlib.sha256(self.content).hexdigest(),
                "content": self.content.decode("latin-1"),
            }
        )


class RelayLink(asyncio.Protocol):
    """One connection: reads what has come, answers in one write."""

    def __init__(self, relay: "SmtpRelay") -> None:
        self.relay = relay
        self.number = 0
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._out: list[bytes] = []
        self._is_waiting = False
        self._is_closed = False
        self._in_content = False
        self._take_line: Callable[[str], None] | None = None
        self._login: str | None = None
        self._encrypted = relay.implicit_tls
        self._reset()

    def _reset(self) -> None:
        self._sender: str | None = None
        self._recipients: list[str] = []
        self._options: tuple[str, ...] = ()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.relay.connections += 1
        self.number = self.relay.connections
        self.relay.links.add(self)
        self._say("connect", "220 relay.test ESMTP")
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._is_closed = True
        self.relay.links.discard(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._in_content:
            self.relay.flights.append(data.count(b"\r\n"))
        self._work()

    def cut(self, farewell: bytes = b"") -> None:
        self._is_closed = True
        if self._transport is None:
            return
        if farewell:
            self._transport.write(farewell)
            self._transport.close()
        else:
            self._transport.abort()

    # commands

    def _work(self) -> None:
        while not self._is_waiting and not self._is_closed:
            if self._in_content:
                if not self._read_content():
                    break
                continue
            end = self._buffer.find(b"\r\n")
            if end < 0:
                break
            line = self._buffer[:end].decode("utf-8", "replace")
            del self._buffer[: end + 2]
            self._obey(line)
        self._flush()

    def _obey(self, line: str) -> None:
        if self._take_line is not None:
            take, self._take_line = self._take_line, None
            take(line)
            return
        self.relay.commands.append((self.number, line))
        verb, _, rest = line.partition(" ")
        handler = getattr(self, f"_on_{verb.lower()}", None)
        if handler is None:
            self._say("", "500 5.5.2 what?")
        else:
            handler(rest)

    def _on_ehlo(self, _name: str) -> None:
        relay = self.relay
        offers = ["relay.test"]
        if relay.tls is not None and not self._encrypted:
            offers.append("STARTTLS")
        if relay.users is not None and (self._encrypted or relay.tls is None):
            offers.append("AUTH PLAIN LOGIN")
        offers += ["PIPELINING"] * relay.pipelining + ["SMTPUTF8"] * relay.smtputf8
        offers += ["8BITMIME"] * relay.eight_bit_mime
        if relay.max_octets is not None:
            offers.append(f"SIZE {relay.max_octets}")
        offers.append("ENHANCEDSTATUSCODES")
        self._reset()
        self._say(
            "ehlo",
            "\r\n".join(f"250{' ' if offer is offers[-1] else '-'}{offer}" for offer in offers),
        )

    def _on_helo(self, _name: str) -> None:
        self._say("ehlo", "250 relay.test")

    def _on_starttls(self, _rest: str) -> None:
        if self.relay.tls is None or self._encrypted:
            self._say("starttls", "503 5.5.1 not now")
        elif self._say("starttls", "220 2.0.0 go"):
            self._flush()
            self._is_waiting = True
            task = asyncio.create_task(self._encrypt(self.relay.tls))
            self.relay.tasks.add(task)
            task.add_done_callback(self.relay.tasks.discard)

    async def _encrypt(self, context: ssl.SSLContext) -> None:
        self._buffer.clear()
        transport = self._transport
        if transport is None:
            return
        try:
            encrypted = await asyncio.get_running_loop().start_tls(
                transport, self, context, server_side=True
            )
        except (OSError, ssl.SSLError):
            transport.abort()
            return
        if encrypted is None:
            return
        self._transport = encrypted
        self._encrypted = True
        self._is_waiting = False
        self._work()

    def _on_auth(self, rest: str) -> None:
        method, _, initial = rest.partition(" ")
        if self.relay.users is None:
            self._say("auth", "502 5.5.1 no AUTH here")
        elif method.upper() == "PLAIN":
            if initial:
                self._plain(initial)
            else:
                self._ask("334 ", self._plain)
        elif method.upper() == "LOGIN":
            if initial:
                self._login_name(initial)
            else:
                self._ask("334 VXNlcm5hbWU6", self._login_name)
        else:
            self._say("auth", "504 5.5.4 unknown method")

    def _ask(self, prompt: str, take: Callable[[str], None]) -> None:
        self._take_line = take
        self._out.append(prompt.encode() + b"\r\n")

    def _plain(self, line: str) -> None:
        _, name, password = [*_decode(line).split("\0"), "", ""][:3]
        self._check_login(name, password)

    def _login_name(self, line: str) -> None:
        name = _decode(line)
        self._ask("334 UGFzc3dvcmQ6", lambda answer: self._check_login(name, _decode(answer)))

    def _check_login(self, name: str, password: str) -> None:
        if self.relay.users is not None and self.relay.users.get(name) == password:
            if self._say("auth", "235 2.7.0 welcome"):
                self._login = name
                self.relay.logins.append(name)
        else:
            self._say("auth", "535 5.7.8 authentication credentials invalid")

    def _on_mail(self, rest: str) -> None:
        path, *options = rest.partition(":")[2].split()
        if self.relay.require_login and self._login is None:
            self._say("mail", "530 5.7.0 authentication required")
        elif self._sender is not None:
            self._say("mail", "503 5.5.1 nested MAIL")
        elif self._say("mail", "250 2.1.0 ok"):
            self._sender = path.strip("<>")
            self._options = tuple(options)

    def _on_rcpt(self, rest: str) -> None:
        recipient = rest.partition(":")[2].strip().removeprefix("<").removesuffix(">")
        if self._sender is None:
            self._say("", "503 5.5.1 MAIL first")
        elif not recipient.isascii() and "SMTPUTF8" not in self._options:
            self._say("", "553 5.6.7 needs SMTPUTF8")
        elif self.relay.is_greylisted(recipient):
            self._say("rcpt", "450 4.7.1 greylisted, try again later")
        elif self._say("rcpt", "250 2.1.5 ok", about=recipient):
            self._recipients.append(recipient)

    def _on_data(self, _rest: str) -> None:
        if not self._recipients and not self.relay.grants_data_always:
            self._say("", "503 5.5.1 RCPT first")
        elif self._say("data", "354 go on"):
            self._in_content = True

    def _on_rset(self, _rest: str) -> None:
        self._reset()
        self._say("", "250 2.0.0 ok")

    def _on_noop(self, _rest: str) -> None:
        self._say("", "250 2.0.0 ok")

    def _on_quit(self, _rest: str) -> None:
        self._out.append(b"221 2.0.0 bye\r\n")
        self._flush()
        if self._transport is not None:
            self._transport.close()
        self._is_closed = True

    # content

    def _read_content(self) -> bool:
        """Take the content if it is complete."""
        if self._buffer and self._commit(self._due_fault("body", self._recipients)):
            return False
        if self._buffer.startswith(b".\r\n"):
            content, taken = b"", 3
        else:
            end = self._buffer.find(b"\r\n.\r\n")
            if end < 0:
                return False
            content, taken = bytes(self._buffer[: end + 2]), end + 5
        del self._buffer[:taken]
        self._in_content = False
        if self._buffer and self.relay.hates_streams:
            self.cut()
            return False
        if content.startswith(b"."):
            content = content[1:]
        self._finish(content.replace(b"\r\n..", b"\r\n."))
        return True

    def _finish(self, content: bytes) -> None:
        mail = ReceivedMail(
            sender=self._sender or "",
            recipients=tuple(self._recipients),
            content=content,
            received_at=time.time(),
            connection=self.number,
            login=self._login,
            encrypted=self._encrypted,
            mail_options=self._options,
        )
        fault = self._due_fault("dot", self._recipients)
        if fault is None or fault.accept:
            self.relay.accept(mail)
        self._reset()
        if not self._commit(fault):
            self._answer("dot", "250 2.0.0 taken")

    # replies

    def _say(self, phase: str, reply: str, *, about: str | None = None) -> bool:
        """Answer, unless a fault is due: then commit it. True if the good answer was given."""
        concerned = self._recipients if about is None else [about]
        if phase and self._commit(self._due_fault(phase, concerned), phase):
            return False
        self._answer(phase, reply)
        return reply[0] in "23"

    def _due_fault(self, phase: str, recipients: list[str]) -> Fault | None:
        return self.relay.due_fault(phase, recipients, self.number)

    def _commit(self, fault: Fault | None, phase: str = "dot") -> bool:
        if fault is None:
            return False
        if fault.reply is not None:
            self._answer(phase, fault.reply)
        if fault.drop or (fault.reply or "").startswith("421"):
            self.cut(b"".join(self._out))
        elif fault.reply is None:
            self._flush()
            self._is_waiting = True  # for ever: not another word
        return True

    def _answer(self, phase: str, reply: str) -> None:
        self._out.append(reply.encode() + b"\r\n")
        delay_s = self.relay.delay_of(phase)
        if delay_s > 0:
            self._is_waiting = True
            asyncio.get_running_loop().call_later(delay_s, self._go_on)

    def _go_on(self) -> None:
        self._is_waiting = False
        self._flush()
        self._work()

    def _flush(self) -> None:
        if self._out and not self._is_waiting and self._transport is not None:
            reply = b"".join(self._out)
            self._out.clear()
            if self.relay.drips:
                task = asyncio.create_task(self._drip(self._transport, reply))
                self.relay.tasks.add(task)
                task.add_done_callback(self.relay.tasks.discard)
            else:
                self._transport.write(reply)

    async def _drip(self, transport: asyncio.Transport, reply: bytes) -> None:
        for octet in reply:
            transport.write(bytes((octet,)))
            await asyncio.sleep(0.001)


def _decode(line: str) -> str:
    try:
        return base64.b64decode(line, validate=True).decode("utf-8", "replace")
    except binascii.Error:
        return ""
