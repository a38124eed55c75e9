"""Logs: one event a line, JSON in pods, readable on a terminal, never an address.

A line's event is a dotted name (``relay.unavailable``); everything else is key and value. Callers
never hand over an address, a code or a password; what looks like an address is cut out anyway,
as a last defence.

A sender writes a line for each mail, thousands a second, so a line has one short way of its own.
Libraries log through `logging`, which is sent to the same output.
"""

import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final

import structlog

from mailtopic_runtime.log_lines import LineRenderer, json_line, now, text_line
from mailtopic_runtime.log_output import LineOutput
from mailtopic_runtime.repeated_lines import Blank, LineFields, filled, json_form
from mailtopic_runtime.settings import LogSettings

_ROOT: Final = logging.getLogger()
_OUTPUT: Final = LineOutput()
_MOST_CAUSES: Final = 5
_render: LineRenderer | None = None
"""None until logs are configured: as long, lines go to structlog as it comes."""


class Logger:
    """Writes the lines of one module, with its name and the bound fields in each.

    Fields are texts, numbers or None; anything else is written as its text. ``exc_info`` takes an
    error: the line names its type and place, and those of its causes, never its message.
    """

    __slots__ = ("_fields", "_levels", "name")

    def __init__(self, name: str, fields: dict[str, Any] | None = None) -> None:
        self.name = name
        self._fields = fields or {}
        # Levels are set in `logging`, for our modules as for libraries.
        self._levels = logging.getLogger(name)

    def bind(self, **fields: Any) -> "Logger":
        """Return a logger that adds these fields to each line."""
        return Logger(self.name, self._fields | fields)

    def debug(self, event: str, /, **fields: Any) -> None:
        """Log at debug level."""
        self._write(logging.DEBUG, "debug", event, fields)

    def info(self, event: str, /, **fields: Any) -> None:
        """Log at info level."""
        self._write(logging.INFO, "info", event, fields)

    def warning(self, event: str, /, **fields: Any) -> None:
        """Log at warning level: it may need attention."""
        self._write(logging.WARNING, "warning", event, fields)

    def error(self, event: str, /, **fields: Any) -> None:
        """Log at error level: it needs attention."""
        self._write(logging.ERROR, "error", event, fields)

    def exception(self, event: str, /, **fields: Any) -> None:
        """Log the exception being handled, at error level."""
        self._write(logging.ERROR, "error", event, {"exc_info": True} | fields)

    def repeated(self, event: str, /, **fields: str | float | Blank | None) -> "RepeatedLine":
        """Return a reusable line at info level with blanks to fill in."""
        return RepeatedLine(self, self._fields, event, fields)

    def _write(self, severity: int, level: str, event: str, fields: dict[str, Any]) -> None:
        render = _render
        if render is None:
            getattr(structlog.get_logger().bind(**self._fields), level)(event, **fields)
        elif self._levels.isEnabledFor(severity):
            line = self._fields | fields
            line["event"] = event
            line["logger"] = self.name
            line["level"] = level
            line["time"] = now()
            if "exc_info" in fields:
                _tell_error(line)
            _OUTPUT.write(render(line))


class RepeatedLine:
    """A line that is encoded once, except for its blanks; see `Logger.repeated`."""

    __slots__ = ("_event", "_fields", "_form", "_levels", "_logger")

    def __init__(
        self, logger: Logger, bound: dict[str, Any], event: str, fields: LineFields
    ) -> None:
        self._logger = logger
        self._event = event
        self._fields = fields
        self._levels = logging.getLogger(logger.name)
        about = {"event": event, "logger": logger.name, "level": "info"}
        self._form = json_form({**bound, **fields, **about})

    def write(self, *values: object) -> None:
        """Write it with one value for each blank, in order."""
        if _render is not json_line:
            self._logger.info(self._event, **filled(self._fields, values))
        elif self._levels.isEnabledFor(logging.INFO):
            _OUTPUT.write(self._form % (*values, now()))


def get_logger(name: str) -> Logger:
    """Return a logger; bind constant fields with ``.bind(...)``."""
    return Logger(name)


def configure_logging(settings: LogSettings) -> None:
    """Send all logs, ours and the libraries', as one line each to standard output.

    Lines that are written in one turn of an event loop leave together at its end.
    """
    global _render  # noqa: PLW0603 - a process has one log, as `logging` has one root
    as_json = settings.format == "json" or (settings.format == "auto" and not sys.stdout.isatty())
    _render = json_line if as_json else text_line(colours=sys.stdout.isatty())
    _ROOT.handlers[:] = [_OfLibraries(_render)]
    _ROOT.setLevel(settings.level.upper())
    # aiokafka writes records' values at debug level and a line a second while a broker is away;
    # a StateLog reports that once.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


def reset_logging() -> None:
    """Undo `configure_logging`; for tests."""
    global _render  # noqa: PLW0603 - see configure_logging
    flush_logs()
    _render = None


def flush_logs(*, timeout_s: float = 1.0) -> None:
    """Write lines that still wait for the end of the loop's turn.

    Call it before ending the process by force; any other end flushes by itself. It gives up
    after the timeout, because the pipe may have no reader.
    """
    _OUTPUT.flush_in_time(timeout_s)


class _OfLibraries(logging.Handler):
    """Forwards only serious records from libraries: others may contain the mails they handle."""

    def __init__(self, render: LineRenderer) -> None:
        super().__init__()
        self._render_line: Callable[[dict[str, Any]], str] = render

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        if not record.name.startswith("mailtopic") and record.levelno < logging.WARNING:
            return
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001 - a library's faulty log call must not stop the process
            text = str(record.msg)
        line: dict[str, Any] = {
            "event": text,
            "logger": record.name,
            "level": record.levelname.lower(),
            "time": now(),
        }
        if record.exc_info:
            line["exc_info"] = record.exc_info
            _tell_error(line)
        _OUTPUT.write(self._render_line(line))


def _tell_error(line: dict[str, Any]) -> None:
    # Only an error's place is logged: locals and messages can hold a mail.
    error = line.pop("exc_info")
    if error is True:
        error = sys.exc_info()
    if isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        line["error"] = type(error).__name__
        line["where"] = _where(error)
        causes = [f"{type(each).__name__} at {_where(each) or '?'}" for each in _causes(error)]
        if causes:
            line["causes"] = "; ".join(causes)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error's causes: the errors of a group, and those it was raised from."""
    found = [error]
    for each in found:
        inner = list(each.exceptions) if isinstance(each, BaseExceptionGroup) else []
        if each.__cause__ is not None:
            inner.append(each.__cause__)
        found += [one for one in inner if one not in found]
        if len(found) > _MOST_CAUSES:
            break
    yield from found[1 : _MOST_CAUSES + 1]


def _where(error: BaseException) -> str:
    frames: list[str] = []
    trace = error.__traceback__
    while trace is not None:
        module = trace.tb_frame.f_globals.get("__name__", "?")
        frames.append(f"{module}:{trace.tb_lineno}")
        trace = trace.tb_next
    return " > ".join(frames[-6:])
