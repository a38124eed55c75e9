"""Whether a relay tolerates the next envelope behind a body without a reply yet."""

from mailtopic_runtime import Logger

_ENOUGH = 2
_FORGOTTEN_AFTER = 1000


class Streams:
    """The state of one relay, for the life of the process; see RFC 2920 §3.1.

    Some servers (Dovecot 2.3's submission service) end the connection when an envelope follows a
    body before their reply, so the body's mail may have been accepted or not. One such end may be a
    restart or a lost link, and then the next connection works. If that one ends the same way within
    a thousand mails, nothing is sent behind a body any more: an end costs a mail that may arrive
    twice, and waiting for the reply costs a round trip.

    Attributes:
        is_allowed: whether an envelope may follow a body.
        is_doubted: whether a connection recently ended that way.
        ends: the number of counted ends; a session remembers its value at the opening.
    """

    def __init__(self, relay: str, *, log: Logger) -> None:
        self.is_allowed = True
        self.is_doubted = False
        self.ends = 0
        self._relay = relay
        self._log = log
        self._doubts = 0
        self._well = 0

    def ended(self, *, ends_before: int) -> None:
        """Note that a connection ended without a reply to a body followed by an envelope.

        `ends_before` is `ends` at the connection's opening. Connections that end together count
        once: a restart ends them all.
        """
        if ends_before != self.ends or not self.is_allowed:
            return
        self.ends += 1
        self._doubts += 1
        self._well = 0
        self.is_doubted = True
        if self._doubts >= _ENOUGH:
            self.is_allowed = False
            self._log.warning(
                "relay.streams_off",
                relay=self._relay,
                hint="it hangs up when an envelope follows a body, so each body's reply is waited"
                " for from now on; with MAILTOPIC_SMTP__PIPELINING=false (a relay's pipelining)"
                " it doesn't come to that",
            )

    def went_well(self) -> None:
        """Note that a body followed by an envelope got its reply."""
        self._well += 1
        if self._well >= _FORGOTTEN_AFTER:
            self._doubts = 0
            self.is_doubted = False
