"""The delivery objective: what counts as good or bad, and how fast the budget burns.

Multi-window, multi-burn-rate alerts: The Site Reliability Workbook, chapter 5, "Alerting on SLOs".
How each outcome counts, and why: docs/guides/observability.md.
"""

from typing import Final

from mailtopic_observability.rules.model import (
    INTERVAL_S,
    Alert,
    Group,
    Recording,
    Rule,
    Severity,
)
from mailtopic_observability.rules.parameters import OBJECTIVE, Parameters

GARBAGE: Final = (
    "bad-address",
    "bad-batch",
    "bad-field",
    "bad-header",
    "bad-json",
    "bad-record",
    "empty",
    "too-large",
)
"""Reasons of dead letters that never were a mail: their publisher's fault. Every other reason
counts as ours, including a new one until it is classified.
"""

_SHORT: Final = ("5m", "30m", "1h", "2h", "6h")
_LONG: Final = ("1d", "3d", "30d")
_LONG_INTERVAL: Final = "2m"
"""Long windows are evaluated as rarely as Prometheus' look-back of 5 minutes allows: 30 days are
86,400 samples for each topic.
"""

LEAST_BAD: Final = 5
"""With fewer bad mails in the long window no alert fires: two of ten in a night are no trend."""

_GOOD: Final = "mailtopic:delivery_slo_good:rate5m"
_BAD: Final = "mailtopic:delivery_slo_bad:rate5m"
_TOTAL: Final = "mailtopic:delivery_slo_total:rate5m"
_CONTENT: Final = "mailtopic:mails_refused_content:rate5m"


def groups(parameters: Parameters) -> tuple[Group, ...]:
    """Return the objective's rules; the second group reads the first one's series."""
    short = (*_counts(parameters.bucket), *_of_windows(_SHORT), *_fast())
    long = (*_of_windows(_LONG), _budget(), *_slow())
    return Group("mailtopic-slo", short), Group("mailtopic-slo-long", long, _LONG_INTERVAL)


def _counts(bucket: str) -> tuple[Rule, ...]:
    by_relay = "sum by (namespace, topic, relay)"
    refused = f'{by_relay} (rate(mailtopic_smtp_replies_total{{class="content"}}[5m]))'
    bounced = f'{by_relay} (rate(mailtopic_mails_total{{outcome="bounced"}}[5m]))'
    garbage = "|".join(GARBAGE)
    return (
        Recording(
            _GOOD,
            f"sum by (namespace, topic) (rate(mailtopic_delivery_seconds_bucket{{{bucket}}}[5m]))",
            "Mails a second that a relay took in time.",
        ),
        Recording(
            _CONTENT,
            f"({refused} <= {bounced})\nor\n({bounced} < {refused})",
            "Mails a second that bounced because of what we wrote: as many as a relay refused for"
            " their content, but no more than bounced there: another relay may have taken one.",
        ),
        Recording(
            _BAD,
            "sum by (namespace, topic) (\n"
            "  (\n"
            "    rate(mailtopic_delivery_seconds_count[5m])\n"
            "    - ignoring (le)\n"
            f"    rate(mailtopic_delivery_seconds_bucket{{{bucket}}}[5m])\n"
            "  )\n"
            '  or rate(mailtopic_mails_total{outcome="expired"}[5m])\n'
            f'  or rate(mailtopic_dead_letters_total{{reason!~"{garbage}"}}[5m])\n'
            f"  or {_CONTENT}\n"
            ")",
            "Mails a second that were late, or by our fault never delivered.",
        ),
        Recording(_TOTAL, f"{_GOOD} + {_BAD}", "Mails a second that the objective is about."),
    )


def _of_windows(windows: tuple[str, ...]) -> tuple[Rule, ...]:
    return tuple(rule for window in windows for rule in _of_window(window))


def _of_window(window: str) -> tuple[Rule, ...]:
    bad, total = _BAD, _TOTAL
    if window != "5m":
        bad, total = (f"sum_over_time({each}[{window}])" for each in (bad, total))
    errors = f"mailtopic:delivery_slo_errors:ratio_rate{window}"
    return (
        Recording(
            errors,
            f"{bad} / ({total} > 0)",
            f"The share of bad mails in {window}, each mail counting once.",
        ),
        Recording(
            f"mailtopic:delivery_slo_burn:rate{window}",
            f"{errors} / (1 - scalar({OBJECTIVE}))",
            f"How many times faster than allowed the budget was spent in {window}.",
        ),
    )


def _budget() -> Rule:
    return Recording(
        "mailtopic:delivery_slo_budget:remaining30d",
        "1 - mailtopic:delivery_slo_burn:rate30d",
        "What is left of 30 days' budget: 1 all of it, 0 nothing, below 0 overspent.",
    )


def _fast() -> tuple[Rule, ...]:
    name, severity = "MailTopicDeliverySLOFastBurn", Severity.PAGE
    return (
        _burn(name, 14.4, long="1h", short="5m", hold="2m", severity=severity),
        _burn(name, 6, long="6h", short="30m", hold="15m", severity=severity),
    )


def _slow() -> tuple[Rule, ...]:
    name, severity = "MailTopicDeliverySLOSlowBurn", Severity.TICKET
    return (
        _burn(name, 3, long="1d", short="2h", hold="1h", severity=severity),
        _burn(name, 1, long="3d", short="6h", hold="3h", severity=severity),
    )


def _burn(
    name: str,
    factor: float,
    *,
    long: str,
    short: str,
    hold: str,
    severity: Severity,
) -> Alert:
    return Alert(
        name=name,
        expr=(
            f"mailtopic:delivery_slo_burn:rate{long} > {factor}\n"
            f"and mailtopic:delivery_slo_burn:rate{short} > {factor}\n"
            f"and sum_over_time({_BAD}[{long}]) * {INTERVAL_S} >= {LEAST_BAD}"
        ),
        hold=hold,
        hold_reason="the short window ends it; only a passing peak is waited out",
        severity=severity,
        component="delivery",
        labels={"long_window": long, "short_window": short},
        summary="Too many mails are delivered late or not at all",
        description=(
            "Mails of topic {{ $labels.topic }} miss the objective so often that its budget for 30"
            f' days is spent {{{{ $value | printf "%.1f" }}}} times too fast over {long},'
            f" and over {short} as well; {factor} times is the limit."
        ),
        expected_when="a relay or Kafka was away for longer than the threshold",
    )
