"""Log lines to standard output: those of one event loop iteration in one write."""

import asyncio
import atexit
import contextlib
import sys
import threading
from collections import deque


class LineOutput:
    """Collects lines and writes them at the end of the loop's turn; without a loop, at once.

    A write costs more than making a line does, and under load one turn has many lines. What a
    process that is killed outright can lose is the lines of its last turn. Any thread may write:
    what waits is written before its line. Lines never raise: without a reader they are lost.
    """

    def __init__(self) -> None:
        self._waiting: deque[str] = deque()
        self._flushed_by: asyncio.AbstractEventLoop | None = None
        # The garbage collector may write a line at any point of this thread: about a task whose
        # error was never read. It then holds the lock already, and the outer call writes the line.
        self._lock = threading.RLock()
        self._is_writing = False
        atexit.register(self.flush)

    def write(self, line: str) -> None:
        """Write a line, given without its line break."""
        self._waiting.append(line)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()
            return
        if self._flushed_by is not loop:
            self._flushed_by = loop
            loop.call_soon(self.flush)

    def flush(self) -> None:
        """Write the pending lines."""
        with self._lock:
            self._flushed_by = None
            if self._is_writing:
                return
            self._is_writing = True
            try:
                while self._waiting:
                    self._write_out()
            finally:
                self._is_writing = False

    def flush_in_time(self, timeout_s: float) -> None:
        """Like `flush`, but give up after some seconds: a pipe without a reader blocks."""
        flushing = threading.Thread(target=self.flush, name="log flush", daemon=True)
        flushing.start()
        flushing.join(timeout_s)

    def _write_out(self) -> None:
        lines: list[str] = []
        while self._waiting:
            lines.append(self._waiting.popleft())
        lines.append("")
        text = "\n".join(lines)
        stream = sys.stdout  # looked up each time: tests and programs may have replaced it
        with contextlib.suppress(OSError, ValueError):  # closed, or its reader is gone
            try:
                stream.write(text)
            except UnicodeEncodeError:
                encoding = stream.encoding
                stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
            stream.flush()
