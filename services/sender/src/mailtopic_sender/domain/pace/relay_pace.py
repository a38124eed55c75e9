# ruff: noqa
"""Interim."""

from mailtopic_sender.domain.pace.facts import Learned, PaceBounds, Refusal, RefusalKind, Verdict


class RelayPace:
    """Interim: an explicit rate only."""

    def __init__(self, bounds: PaceBounds, *, now_s: float, learned: Learned | None = None) -> None:
        self._b = bounds
        self._share = 1.0
        self._tokens = 1.0
        self._at = now_s
        self.learned = Learned()
        self._limit = float(bounds.max_connections)
        self._slowed_at_s = float("-inf")
        self.mails_per_connection = bounds.mails_per_connection

    @property
    def is_open(self) -> bool:
        return self._b.rate_per_s is None

    def _fill(self, now_s: float) -> None:
        r = (self._b.rate_per_s or 0) * self._share
        self._tokens = min(1 + r * 0.1, self._tokens + (now_s - self._at) * r)
        self._at = now_s

    def wait_s(self, now_s: float) -> float:
        if self._b.rate_per_s is None:
            return 0.0
        self._fill(now_s)
        r = self._b.rate_per_s * self._share
        if r <= 0:
            return float("inf")
        return max(0.0, 1 - 1e-9 - self._tokens) / r

    def take(self, now_s: float) -> bool:
        if self._b.rate_per_s is None:
            return True
        if self.wait_s(now_s) > 0:
            return False
        self._tokens -= 1
        return True

    def give_back(self, now_s: float) -> None:
        self._tokens += 1

    def set_share(self, share: float, now_s: float) -> None:
        self._fill(now_s)
        self._share = share

    @property
    def connections(self) -> int:
        return int(self._limit)

    def accepted(self, now_s: float) -> None:
        self._limit = min(float(self._b.max_connections), self._limit + 1 / self._limit)

    def refused(self, now_s: float, refusal: Refusal) -> Verdict:
        if refusal.kind is not RefusalKind.PACE:
            return Verdict.MAIL
        if refusal.began_at_s > self._slowed_at_s:
            self._slowed_at_s = now_s
            self._limit = max(1.0, self._limit / 2)
        return Verdict.PACE

    def connection_refused(self, now_s: float, *, connections_open: int) -> None:
        if connections_open:
            self._limit = max(1.0, min(self._limit, float(connections_open)))

    def connection_closed(self, now_s: float, *, mails: int, by_relay: bool) -> None:
        pass
