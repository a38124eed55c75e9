"""Time as a dependency, so that tests can control it."""

import time
from typing import Protocol


class Clock(Protocol):
    """The time. Wall time may jump; only monotonic time never goes back."""

    def now_ms(self) -> int:
        """Return the wall time in epoch milliseconds."""
        ...

    def monotonic_s(self) -> float:
        """Return seconds since an unspecified moment; only differences mean something."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now_ms(self) -> int:
        """Return the wall time in epoch milliseconds."""
        return time.time_ns() // 1_000_000

    monotonic_s = staticmethod(time.monotonic)
    """Return the machine's monotonic time in seconds. No call in between."""


class ManualClock:
    """The shipped fake: time passes only when it is advanced."""

    def __init__(self, now_ms: int = 1_790_000_000_000) -> None:
        self._now_ms = now_ms
        self._monotonic_s = 0.0

    def now_ms(self) -> int:
        """Return the wall time set by the test."""
        return self._now_ms

    def monotonic_s(self) -> float:
        """Return the seconds advanced so far."""
        return self._monotonic_s

    def advance(self, seconds: float) -> None:
        """Advance the time."""
        self._monotonic_s += seconds
        self._now_ms += round(seconds * 1000)
