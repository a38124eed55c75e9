"""Progress of a long command: one line on a terminal, occasional lines elsewhere."""

import sys
import time
from typing import TextIO

_TERMINAL_EVERY_S = 0.2
_ELSEWHERE_EVERY_S = 10.0
_CLEAR_LINE = "\r\x1b[K"


class Progress:
    """Writes to standard error, so that standard output holds only the result.

    Quick steps aren't shown.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._is_terminal = self._stream.isatty()
        self._every_s = _TERMINAL_EVERY_S if self._is_terminal else _ELSEWHERE_EVERY_S
        self._next_s = time.monotonic() + self._every_s
        self._is_shown = False

    def at(self, what: str, count: int) -> None:
        """Show the current step and the number of records done."""
        self.say(f"{what}: {count:,} records")

    def say(self, text: str) -> None:
        """Show the current step, unless a line was written just before."""
        now_s = time.monotonic()
        if now_s < self._next_s:
            return
        self._next_s = now_s + self._every_s
        if self._is_terminal:
            self._stream.write(f"{_CLEAR_LINE}{text}…")
            self._is_shown = True
        else:
            self._stream.write(f"{text}…\n")
        self._stream.flush()

    def clear(self) -> None:
        """Clear the line before other output is written."""
        if self._is_shown:
            self._stream.write(_CLEAR_LINE)
            self._stream.flush()
            self._is_shown = False
