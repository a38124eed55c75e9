"""How a long command says that it goes on: one line on a terminal, lines now and then elsewhere."""

import sys
import time
from typing import TextIO

_TERMINAL_EVERY_S = 0.2
_ELSEWHERE_EVERY_S = 10.0
_CLEAR_LINE = "\r\x1b[K"


class Progress:
    """Writes to standard error, so that standard output holds nothing but the result.

    What is done quickly isn't mentioned.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._is_terminal = self._stream.isatty()
        self._every_s = _TERMINAL_EVERY_S if self._is_terminal else _ELSEWHERE_EVERY_S
        self._next_s = time.monotonic() + self._every_s
        self._is_shown = False

    def at(self, what: str, count: int) -> None:
        """Say what is being done and how many records are done."""
        self.say(f"{what}: {count:,} records")

    def say(self, text: str) -> None:
        """Say what is being done, unless something was said just before."""
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
        """Take the line back, before something else is written."""
        if self._is_shown:
            self._stream.write(_CLEAR_LINE)
            self._stream.flush()
            self._is_shown = False
