"""How many connections a relay allows, and how many mails on each. Pure."""

from collections import deque

_FIRST_LOOK_S = 15.0
_LAST_LOOK_S = 120.0
_ROOM_S = 3.0
"""How long one connection fewer is kept after the limit was met again: another process that shares
the relay may have none."""


class ConnectionLimit:
    """The most connections at once: the number open when one more was refused, rarely exceeded."""

    def __init__(self, bound: int) -> None:
        self._bound = max(1, bound)
        self.learned: int | None = None
        self._look_s = _FIRST_LOOK_S
        self._look_at_s = 0.0
        self._room_until_s = 0.0

    def adopt(self, limit: int, now_s: float) -> None:
        """Continue from a limit that was met elsewhere."""
        self.learned = max(1, limit)
        self._look_s = _FIRST_LOOK_S
        self._look_at_s = now_s + _FIRST_LOOK_S

    def allowed(self, now_s: float) -> int:
        """How many may be open now."""
        if self.learned is None:
            return self._bound
        allowed = self.learned + (now_s >= self._look_at_s) - (now_s < self._room_until_s)
        return max(1, min(self._bound, allowed))

    def refused(self, now_s: float, connections_open: int) -> None:
        """Note that one more connection than these was refused."""
        limit = max(1, connections_open)
        if limit == self.learned:
            if now_s >= self._look_at_s:
                self._look_s = min(_LAST_LOOK_S, self._look_s * 2)
                self._room_until_s = now_s + _ROOM_S
        else:
            self._look_s = _FIRST_LOOK_S
        self.learned = limit
        self._look_at_s = now_s + self._look_s

    def reached(self, connections_open: int) -> None:
        """Note that this many are open and working."""
        if self.learned is not None and connections_open > self.learned:
            self.learned = connections_open if connections_open < self._bound else None
            self._look_s = _FIRST_LOOK_S


_CLOSINGS = 6
_ALIKE = 4
_FEW = 4
_SPAN_S = 1.0
_KEPT_S = 600.0


class MailsPerConnection:
    """The most mails on one connection.

    A relay with such a limit ends connections at one number of mails, which none of them exceeds.
    Connections that end for another reason end at any number, and when the rate is exceeded all of
    them end together: so closings at about one number count only if they are spread over more than
    a second.
    """

    def __init__(self, bound: int) -> None:
        self._bound = max(1, bound)
        self.learned: int | None = None
        self._learned_at_s: float | None = None
        self._closings: deque[tuple[float, int]] = deque(maxlen=_CLOSINGS)

    def adopt(self, limit: int, now_s: float) -> None:
        """Continue from a limit that was met elsewhere."""
        self._forget()
        self.learned = max(1, limit)
        self._learned_at_s = now_s

    def allowed(self, now_s: float) -> int:
        """After how many mails a connection should be closed now."""
        if self.learned is None:
            return self._bound
        if self._learned_at_s is None:
            self._learned_at_s = now_s
        elif now_s - self._learned_at_s > _KEPT_S:
            self._forget()
            return self._bound
        return min(self._bound, self.learned)

    def closed(self, now_s: float, mails: int) -> bool:
        """Note that the relay ended a connection after some mails; returns if that fits a limit."""
        if self.learned is not None and mails > self.learned * 1.1 + 1:
            self._forget()
        self._closings.append((now_s, mails))
        most = max(count for _, count in self._closings)
        alike = [at_s for at_s, count in self._closings if _is_alike(count, most)]
        if most and len(alike) >= (_ALIKE if most > _FEW else _CLOSINGS):
            if alike[-1] - alike[0] >= _SPAN_S:
                self.learned = most - (most > _FEW)
                self._learned_at_s = now_s
            return _is_alike(mails, most)
        if self.learned is not None and len(self._closings) == _CLOSINGS:
            self._forget()
        return self.learned is not None and mails >= self.learned

    def reached(self, mails: int) -> None:
        """Note that a connection accepted this many mails."""
        if self._closings and mails > self._closings[-1][1] * 1.1 + 1:
            self._closings.clear()
            if self.learned is not None and mails > self.learned * 1.1 + 1:
                self._forget()

    def _forget(self) -> None:
        self.learned = None
        self._learned_at_s = None
        self._closings.clear()


def _is_alike(mails: int, most: int) -> bool:
    return mails >= most * 0.9 - (most > _FEW)
