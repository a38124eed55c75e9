"""One log line for each request, unless there are too many."""

from typing import Any

from mailtopic_runtime import Clock, get_logger

_REDIRECTION = 300


class RequestLog:
    """Writes up to a number of lines a second about requests; the rest is counted in one line.

    A successful POST is always logged: clients' limits bound their number, and the line is needed
    to find a mail.

    Args:
        per_second: how many lines; 0 writes all.
        clock: the time.
    """

    def __init__(self, per_second: int, clock: Clock) -> None:
        self._per_second = per_second
        self._clock = clock
        self._second = 0
        self._written = 0
        self._left_out = 0
        self._log = get_logger(__name__)

    def write(self, *, method: str, status: int, is_probe: bool, **fields: Any) -> None:
        """Write a request's line; for a probe at level debug."""
        if is_probe:
            self._log.debug("request.done", method=method, status=status, **fields)
        elif self._is_within(is_kept=method == "POST" and status < _REDIRECTION):
            self._log.info("request.done", method=method, status=status, **fields)

    def _is_within(self, *, is_kept: bool) -> bool:
        if not self._per_second:
            return True
        second = int(self._clock.monotonic_s())
        if second != self._second:
            if self._left_out:
                self._log.warning("request.lines_left_out", count=self._left_out)
            self._second, self._written, self._left_out = second, 0, 0
        if is_kept:
            return True
        if self._written >= self._per_second:
            self._left_out += 1
            return False
        self._written += 1
        return True
