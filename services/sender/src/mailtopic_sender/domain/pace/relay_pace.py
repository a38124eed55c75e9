"""The pace of one relay: mails per second, connections, mails per connection."""

import math
from collections import OrderedDict
from collections.abc import Hashable
from enum import Enum
from typing import NamedTuple

from mailtopic_sender.domain.pace.bucket import Spacing
from mailtopic_sender.domain.pace.connections import ConnectionLimit, MailsPerConnection
from mailtopic_sender.domain.pace.facts import (
    Learned,
    PaceBounds,
    Refusal,
    RefusalKind,
    Verdict,
)
from mailtopic_sender.domain.pace.rate import LearnedRate

_FASTEST = 1e6
_REMEMBERED = 1024
_REPEATS = 2
_OTHERS = 10
"""A recipient refused twice with this many others accepted in between has its own reasons."""


class RelayPace:
    """Decides when a relay may be offered the next mail, and over how many connections.

    If no limit is set and none was met, nothing waits. Nothing here reads a clock: times are
    monotonic seconds, never decreasing. Every method is O(1).
    """

    def __init__(self, bounds: PaceBounds, *, now_s: float) -> None:
        """Start without limits except the bounds."""
        self._bound = bounds.rate_per_s
        self._share = 1.0
        self._now_s = now_s
        self._rate = LearnedRate(now_s)
        self._spacing = Spacing(now_s)
        self._connections = ConnectionLimit(bounds.max_connections)
        self._mails = MailsPerConnection(bounds.mails_per_connection)
        self._taken_at_s = now_s
        self._is_pressed = False
        self._accepted = 0
        self._refused_recipients: OrderedDict[Hashable, _Before] = OrderedDict()

    @property
    def is_open(self) -> bool:
        """Whether any number of mails may go now: no limit is set and none is known."""
        return self._bound is None and self._rate.is_unlimited

    def wait_s(self, now_s: float) -> float:
        """Return the seconds until the next mail may be offered; inf while the share is 0."""
        if self.is_open:
            return 0.0
        if self._bound is not None and self._share <= 0:
            return math.inf
        wait_s = self._spacing.wait_s(now_s, self._allowed_per_s(now_s))
        self._is_pressed = self._is_pressed or wait_s > 0
        return wait_s

    def take(self, now_s: float) -> bool:
        """Take a turn if there is one: a mail may be offered now."""
        if self.is_open:
            return True
        if not self._spacing.take(now_s, self._allowed_per_s(now_s)):
            self._is_pressed = True
            return False
        if self._is_pressed:
            self._rate.pressed(now_s - self._taken_at_s)
            self._is_pressed = False
        self._taken_at_s = now_s
        return True

    def give_back(self, now_s: float) -> None:
        """Return a turn that was taken and not used."""
        self._now_s = now_s
        self._spacing.give_back()

    @property
    def connections(self) -> int:
        """How many connections may be open, those being opened included; at least 1."""
        return self._connections.allowed(self._now_s)

    @property
    def mails_per_connection(self) -> int:
        """After how many mails a connection should be closed; at least 1."""
        return self._mails.allowed(self._now_s)

    @property
    def learned(self) -> Learned:
        """The limits met so far, for `adopt` of a later process."""
        return Learned(self._rate.limit, self._connections.learned, self._mails.learned)

    def adopt(self, learned: Learned, now_s: float, *, is_hint: bool) -> None:
        """Continue from limits that were met elsewhere, or earlier; None leaves one unchanged.

        A hint is only a start: its rate is doubled until it is refused, and the rest is ignored.
        """
        self._now_s = now_s
        if learned.rate_per_s is not None:
            self._rate.adopt(learned.rate_per_s, now_s, is_hint=is_hint)
        if is_hint:
            return
        if learned.connections is not None:
            self._connections.adopt(learned.connections, now_s)
        if learned.mails_per_connection is not None:
            self._mails.adopt(learned.mails_per_connection, now_s)

    def set_share(self, share: float, now_s: float) -> None:
        """Set this process's share of the rate in the bounds, 0 to 1."""
        self._now_s = now_s
        self._share = share

    def accepted(self, now_s: float) -> None:
        """Note a mail that was or may have been accepted: its final dot was sent."""
        self._now_s = now_s
        self._accepted += 1
        self._rate.taken(now_s)

    def refused(self, now_s: float, refusal: Refusal) -> Verdict:
        """Note a refused mail; returns what the refusal means."""
        self._now_s = now_s
        kind = refusal.kind
        again = self._seen_again(refusal.recipient)
        if kind is RefusalKind.MAIL or again is _Again.ALONE:
            self._rate.taken(now_s)
            return Verdict.MAIL
        if again is _Again.OFTEN:
            return Verdict.MAIL
        if refusal.closes and self._mails.closed(now_s, refusal.mails_on_connection):
            return Verdict.CONNECTION
        is_pace = self._rate.refused(now_s, refusal.began_at_s, refusal.asked_pause_s)
        return Verdict.PACE if is_pace else Verdict.MAIL

    def connection_refused(self, now_s: float, *, connections_open: int) -> None:
        """Note that no connection could be opened while this many others were open."""
        self._now_s = now_s
        if connections_open > 0:
            self._connections.refused(now_s, connections_open)

    def connection_closed(self, now_s: float, *, mails: int, by_relay: bool) -> None:
        """Note a connection that ended after this many mails, other than by a refusal."""
        self._now_s = now_s
        if by_relay:
            self._mails.closed(now_s, mails)
        else:
            self._mails.reached(mails)

    def _allowed_per_s(self, now_s: float) -> float:
        rate = self._rate.per_s(now_s)
        return min(rate, _FASTEST if self._bound is None else self._bound * self._share)

    def _seen_again(self, recipient: Hashable) -> "_Again":
        """Whether others were accepted since this recipient was last refused."""
        if recipient is None:
            return _Again.NO
        before = self._refused_recipients.pop(recipient, None)
        repeats, again = 0, _Again.NO
        if before is not None:
            if self._accepted - before.accepted >= _OTHERS:
                again = _Again.ALONE
            else:
                repeats = before.repeats + 1
                again = _Again.OFTEN if repeats >= _REPEATS else _Again.NO
        self._refused_recipients[recipient] = _Before(self._accepted, repeats)
        if len(self._refused_recipients) > _REMEMBERED:
            self._refused_recipients.popitem(last=False)
        return again


class _Before(NamedTuple):
    """The mails accepted when a recipient was refused, and how often it was refused before."""

    accepted: int
    repeats: int


class _Again(Enum):
    """The meaning of a recipient's earlier refusals for this one."""

    NO = 0
    ALONE = 1
    """Others were accepted meanwhile."""
    OFTEN = 2
    """Few others were tried meanwhile: that proves nothing, and they should be tried."""
