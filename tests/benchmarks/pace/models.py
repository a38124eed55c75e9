"""Relays with limits, as small pure classes: what each would answer, without any network."""

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class Reply(NamedTuple):
    """A refusal: basic code, enhanced code, text, and the phase in which it comes."""

    code: int
    enhanced: str
    text: str
    phase: str = "mail"

    @property
    def closes(self) -> bool:
        return self.code == 421

    @property
    def line(self) -> str:
        return f"{self.code} {self.enhanced} {self.text}"


SES = Reply(454, "4.7.0", "Throttling failure: Maximum sending rate exceeded", "body")
ANVIL = Reply(450, "4.7.1", "Error: too much mail from 127.0.0.1")
CLOSING = Reply(421, "4.7.0", "Try again later, closing connection")
USED_UP = Reply(421, "4.7.0", "Too many messages on this connection")
RANDOM = Reply(421, "4.7.0", "Try again later", "rcpt")
TOO_MANY = Reply(421, "4.7.0", "Error: too many connections from 127.0.0.1", "connect")
DAY = Reply(454, "4.7.0", "Throttling failure: Daily message quota exceeded", "body")
GREY = Reply(451, "4.7.1", "Greylisted, please come back later", "rcpt")


HOT = Reply(450, "4.7.1", "Rate limit for this recipient exceeded", "rcpt")


@dataclass
class Connection:
    """A client's connection: how many mails it brought."""

    mails: int = 0


class Offered(NamedTuple):
    """A mail that is offered."""

    now_s: float
    connection: Connection
    recipient: int


class Model:
    """One limit of a relay. A relay has several: the first that refuses answers.

    Attributes:
        reply: how it refuses.
    """

    reply: Reply

    def connect(self, _open_connections: int, /) -> Reply | None:
        """Answer one more connection beside so many."""
        return None

    def offer(self, _mail: Offered, /) -> Reply | None:
        """Answer a mail; None: it is taken."""
        return None


@dataclass
class TokenBucket(Model):
    """Lets through a rate, and after a pause at once what it would in burst_s seconds."""

    rate_per_s: float
    burst_s: float = 1.0
    reply: Reply = SES
    changes: Sequence[tuple[float, float]] = ()
    _tokens: float = field(default=-1.0, init=False)
    _at_s: float = field(default=0.0, init=False)

    def offer(self, mail: Offered, /) -> Reply | None:
        now_s = mail.now_s
        rate = self.limit(now_s)
        room = max(1.0, rate * self.burst_s)
        if self._tokens < 0:
            self._tokens, self._at_s = room, now_s
        self._tokens = min(room, self._tokens + (now_s - self._at_s) * rate)
        self._at_s = now_s
        if self._tokens < 1 - 1e-9:
            return self.reply
        self._tokens -= 1
        return None

    def limit(self, now_s: float) -> float:
        rate = self.rate_per_s
        for at_s, changed in self.changes:
            if now_s >= at_s:
                rate = changed
        return rate


@dataclass
class SlidingWindow(Model):
    """Takes a number of mails in any window; what it refuses doesn't count."""

    rate_per_s: float
    window_s: float = 1.0
    reply: Reply = SES
    _taken: deque[float] = field(default_factory=deque, init=False)

    def offer(self, mail: Offered, /) -> Reply | None:
        now_s, taken = mail.now_s, self._taken
        while taken and taken[0] <= now_s - self.window_s:
            taken.popleft()
        if len(taken) >= max(1, round(self.rate_per_s * self.window_s)):
            return self.reply
        taken.append(now_s)
        return None


@dataclass
class FixedWindow(Model):
    """Counts the mails of a window, refused ones too, and starts over: Postfix's anvil."""

    rate_per_s: float
    window_s: float = 60.0
    reply: Reply = ANVIL
    _began_s: float = field(default=-1e9, init=False)
    _count: int = field(default=0, init=False)

    def offer(self, mail: Offered, /) -> Reply | None:
        if mail.now_s - self._began_s >= self.window_s:
            self._began_s, self._count = mail.now_s, 0
        self._count += 1
        return self.reply if self._count > max(1, round(self.rate_per_s * self.window_s)) else None


@dataclass
class ConnectionCap(Model):
    """Refuses connections above a number."""

    most: int
    reply: Reply = TOO_MANY

    def connect(self, open_connections: int, /) -> Reply | None:
        return self.reply if open_connections >= self.most else None


@dataclass
class MailsPerConnection(Model):
    """Ends a connection after a number of mails."""

    most: int
    reply: Reply = USED_UP

    def offer(self, mail: Offered, /) -> Reply | None:
        return self.reply if mail.connection.mails >= self.most else None


@dataclass
class RandomRefusals(Model):
    """Refuses a share of the mails, whatever the rate is."""

    share: float
    seed: int = 1
    reply: Reply = RANDOM

    def __post_init__(self) -> None:
        self._random: Callable[[], float] = random.Random(self.seed).random  # noqa: S311

    def offer(self, _mail: Offered, /) -> Reply | None:
        return self.reply if self._random() < self.share else None


@dataclass
class Greylisting(Model):
    """Refuses a share of the recipients until some time after it first saw them."""

    share: float
    pause_s: float = 20.0
    reply: Reply = GREY
    _seen: dict[int, float] = field(default_factory=dict, init=False)

    def offer(self, mail: Offered, /) -> Reply | None:
        if mail.recipient * 7919 % 1000 >= self.share * 1000:
            return None
        first_s = self._seen.setdefault(mail.recipient, mail.now_s)
        return self.reply if mail.now_s - first_s < self.pause_s else None


@dataclass
class DayQuota(Model):
    """Takes a number of mails a day."""

    most: int
    reply: Reply = DAY
    _taken: int = field(default=0, init=False)

    def offer(self, _mail: Offered, /) -> Reply | None:
        if self._taken >= self.most:
            return self.reply
        self._taken += 1
        return None


@dataclass
class Hot(Model):
    """Refuses the mails of a few recipients for as long as it runs."""

    most: int
    reply: Reply = HOT

    def offer(self, mail: Offered, /) -> Reply | None:
        return self.reply if mail.recipient % 1000 < self.most else None
