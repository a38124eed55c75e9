"""Shared by every MailTopic process: settings, logs, exit codes, probes, time."""

from mailtopic_runtime.clock import Clock, ManualClock, SystemClock
from mailtopic_runtime.errors import EXIT_CONFIG, EXIT_OK, EXIT_WEDGED, SettingError
from mailtopic_runtime.findings import Finding, FindingPrinter, FindingState
from mailtopic_runtime.log_lines import redact_addresses
from mailtopic_runtime.logs import (
    Logger,
    RepeatedLine,
    configure_logging,
    flush_logs,
    get_logger,
)
from mailtopic_runtime.metrics import BUILD_INFO, OTHER, Family, Kind, Label, process_registry
from mailtopic_runtime.probes import Check, ProbeServer
from mailtopic_runtime.process import run_program, stop_on_signals
from mailtopic_runtime.repeated_lines import Blank
from mailtopic_runtime.settings import (
    LogSettings,
    MailTopicSettings,
    MetricsSettings,
    SettingsGroup,
    describe_settings,
    load_settings,
    secret_file,
    walk_settings,
)
from mailtopic_runtime.state import StateLog
from mailtopic_runtime.tracing import (
    NO_SPAN,
    NO_TRACER,
    Span,
    SpanKind,
    Tracer,
    TracingSettings,
    child_span,
    current_span,
    now_ns,
    open_tracer,
)

__all__ = [
    "BUILD_INFO",
    "EXIT_CONFIG",
    "EXIT_OK",
    "EXIT_WEDGED",
    "NO_SPAN",
    "NO_TRACER",
    "OTHER",
    "Blank",
    "Check",
    "Clock",
    "Family",
    "Finding",
    "FindingPrinter",
    "FindingState",
    "Kind",
    "Label",
    "LogSettings",
    "Logger",
    "MailTopicSettings",
    "ManualClock",
    "MetricsSettings",
    "ProbeServer",
    "RepeatedLine",
    "SettingError",
    "SettingsGroup",
    "Span",
    "SpanKind",
    "StateLog",
    "SystemClock",
    "Tracer",
    "TracingSettings",
    "child_span",
    "configure_logging",
    "current_span",
    "describe_settings",
    "flush_logs",
    "get_logger",
    "load_settings",
    "now_ns",
    "open_tracer",
    "process_registry",
    "redact_addresses",
    "run_program",
    "secret_file",
    "stop_on_signals",
    "walk_settings",
]
