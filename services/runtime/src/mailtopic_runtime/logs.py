"""Logs: one event a line, JSON in pods, readable on a terminal, never an address.

A line's event is a dotted name (``relay.unavailable``); everything else is key and value. Callers
never hand over an address, a code or a password; what looks like an address is cut out all the
same, as a last defence.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog
from structlog.typing import EventDict, Processor

from mailtopic_runtime.settings import LogSettings

_ADDRESS_LIKE = re.compile(r"[^\s@<>\"'=:,;(){}\[\]]+@(?=[^\s@])")
Logger = structlog.stdlib.BoundLogger


def get_logger(name: str) -> Logger:
    """Return a logger; bind what stays the same with ``.bind(...)``."""
    logger: Logger = structlog.stdlib.get_logger(name)
    return logger


def configure_logging(settings: LogSettings) -> None:
    """Send all logs, structlog's and the libraries', as one line each to standard output."""
    as_json = settings.format == "json" or (settings.format == "auto" and not sys.stdout.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        _format_error,
        _redact,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    renderer: Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if as_json
        else structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.addFilter(_is_ours_or_serious)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    # aiokafka writes records' values at debug level and a line a second while a broker is away;
    # what a person needs to know of that, a StateLog says once.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


def _is_ours_or_serious(record: logging.LogRecord) -> bool:
    # Libraries may log what they handle, and they handle mails.
    return record.name.startswith("mailtopic") or record.levelno >= logging.WARNING


def redact_addresses(text: str) -> str:
    """Return a text in which every address has lost its local part."""
    return _ADDRESS_LIKE.sub("***@", text)


def _format_error(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    # A traceback is kept to where it happened: locals and messages can hold a mail.
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()
    if isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        event["error"] = type(error).__name__
        event["where"] = _where(error)
    return event


def _where(error: BaseException) -> str:
    frames: list[str] = []
    trace = error.__traceback__
    while trace is not None:
        module = trace.tb_frame.f_globals.get("__name__", "?")
        frames.append(f"{module}:{trace.tb_lineno}")
        trace = trace.tb_next
    return " > ".join(frames[-6:])


def _redact(_logger: Any, _method: str, event: EventDict) -> EventDict:
    for key, value in event.items():
        if isinstance(value, str):
            if "@" in value:
                event[key] = redact_addresses(value)
        elif not isinstance(value, int | float | None) and not key.startswith("_"):
            event[key] = redact_addresses(str(value))
    return event
