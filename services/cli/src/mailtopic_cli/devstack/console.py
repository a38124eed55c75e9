"""The devstack's output: a spinner on a terminal, plain lines elsewhere."""

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

_PLAIN_PROGRESS_EVERY_S = 3.0


class Console(Protocol):
    """Where lines go. Both methods may be called from any thread.

    Does not promise that each progress line is visible: the next one may replace it.
    """

    def say(self, text: str) -> None:
        """Write a line that stays."""

    def progress(self, text: str) -> None:
        """Show what is being done now."""

    def quiet(self) -> None:
        """Clear the progress."""


class PlainConsole:
    """Lines for a file or a pipe: of the progress only the changes of subject and a sample."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._subject = ""
        self._latest = ""
        self._next_s = 0.0

    def say(self, text: str) -> None:
        """Write a line that stays."""
        # The reader may have gone, but the children must still be stopped.
        with self._lock, contextlib.suppress(OSError):
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()

    def progress(self, text: str) -> None:
        """Write the line if it is about something new, or says more after some time."""
        subject, now_s = text.partition(":")[0], time.monotonic()
        is_due = now_s >= self._next_s and text != self._latest
        if subject != self._subject or is_due:
            self._subject, self._latest = subject, text
            self._next_s = now_s + _PLAIN_PROGRESS_EVERY_S
            self.say(f"{text}…")

    def quiet(self) -> None:
        """Do nothing: there is nothing to clear."""


class TerminalConsole:
    """A spinner with the latest progress below the lines that stay."""

    def __init__(self) -> None:
        from rich.console import Console as RichConsole  # noqa: PLC0415 - not without a terminal

        self._console = RichConsole(highlight=False)
        self._status = self._console.status("")

    def say(self, text: str) -> None:
        """Write a line that stays."""
        with contextlib.suppress(OSError):
            self._console.print(text, markup=False, soft_wrap=True)

    def progress(self, text: str) -> None:
        """Replace the line beside the spinner."""
        with contextlib.suppress(OSError):
            self._status.update(f"{text}…")
            self._status.start()

    def quiet(self) -> None:
        """Remove the spinner."""
        with contextlib.suppress(OSError):
            self._status.stop()


@contextmanager
def open_console() -> Iterator[Console]:
    """The console that fits standard output; its spinner is gone after the block."""
    console: Console = TerminalConsole() if sys.stdout.isatty() else PlainConsole()
    try:
        yield console
    finally:
        console.quiet()
