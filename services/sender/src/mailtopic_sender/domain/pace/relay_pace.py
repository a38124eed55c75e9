"""The pace of one relay: mails a second, connections, mails a connection."""

import math

from mailtopic_sender.domain.pace.facts import Learned, PaceBounds, Refusal, Verdict


class RelayPace:
    """Decides when a relay may be offered the next mail, and over how many connections.

    Where no limit is set and none was met, every question is answered at once. Nothing here reads
    a clock: times are monotonic seconds, never going back. Every answer is O(1).
    """

    def __init__(
        self, bounds: PaceBounds, *, now_s: float, learned: Learned | None = None
    ) -> None:
        """Start with what was learned before, if anything."""
        raise NotImplementedError

    @property
    def is_open(self) -> bool:
        """Whether any number of mails may go now: no limit is set and none is known."""
        raise NotImplementedError

    def wait_s(self, now_s: float) -> float:
        """Return the seconds until the next mail may be offered; inf while the share is 0."""
        return math.inf

    def take(self, now_s: float) -> bool:
        """Take a turn if there is one: a mail may be offered now."""
        raise NotImplementedError

    def give_back(self, now_s: float) -> None:
        """Return a turn that was taken and isn't used."""

    @property
    def connections(self) -> int:
        """How many connections may be open, those being opened included; at least 1."""
        raise NotImplementedError

    @property
    def mails_per_connection(self) -> int:
        """After how many mails a connection should be closed; at least 1."""
        raise NotImplementedError

    @property
    def learned(self) -> Learned:
        """The limits met so far, for `__init__` of a later process."""
        raise NotImplementedError

    def set_share(self, share: float, now_s: float) -> None:
        """Set this process's part of the rate in the bounds, 0 to 1."""

    def accepted(self, now_s: float) -> None:
        """A mail was taken, or may have been: its final dot was sent."""

    def refused(self, now_s: float, refusal: Refusal) -> Verdict:
        """A mail was refused."""
        raise NotImplementedError

    def connection_refused(self, now_s: float, *, connections_open: int) -> None:
        """No connection could be opened while so many others were open."""

    def connection_closed(self, now_s: float, *, mails: int, by_relay: bool) -> None:
        """A connection ended after so many mails, other than by a refusal."""
