"""The producer API and its outbox."""

from typing import Final

from mailtopic_observability.rules.model import Alert, Group, Recording, Rule, Severity
from mailtopic_observability.rules.parameters import OUTBOX_LIMIT

ERRORS: Final = "mailtopic:signup_errors:ratio_rate5m"
COUNT: Final = "mailtopic:signup:count"

_PROBES: Final = "/livez|/readyz|/metrics"
"""A probe's 503 is not a refused signup."""


def group() -> Group:
    """Return the rules."""
    return Group("mailtopic-signup", (*_recordings(), *_alerts()))


def _requests(status: str, function: str = "rate") -> str:
    matchers = f'route!~"{_PROBES}"{status}'
    return f"sum by (namespace) ({function}(mailtopic_request_seconds_count{{{matchers}}}[5m]))"


def _recordings() -> tuple[Rule, ...]:
    return (
        Recording(
            COUNT,
            "count by (namespace) (mailtopic_outbox_pending)",
            "Signup processes that answer Prometheus.",
        ),
        Recording(
            ERRORS,
            _requests(',status=~"5.."') + f"\n/ ({_requests('')} > 0)",
            "The share of requests that failed by our fault, probes left out.",
        ),
    )


def _alerts() -> tuple[Rule, ...]:
    return (
        Alert(
            name="MailTopicOutboxOld",
            expr=f"max by (namespace) (mailtopic_outbox_oldest_seconds) > scalar({OUTBOX_LIMIT})",
            hold="1m",
            hold_reason="an election in Kafka takes seconds; codes are good for 10 minutes",
            severity=Severity.PAGE,
            component="signup",
            summary="Accepted mails don't reach Kafka",
            description=(
                "The oldest mail in the outbox has waited for {{ $value | humanizeDuration }}."
                " Signups are still accepted and nothing is lost, but no code arrives."
            ),
            expected_when="Kafka is being restarted as a whole",
        ),
        Alert(
            name="MailTopicSignupErrors",
            expr=(
                f"{ERRORS} > 0.05\n" + "and " + _requests(',status=~"5.."', "increase") + " >= 5"
            ),
            hold="2m",
            hold_reason="a failover of the database takes less",
            severity=Severity.PAGE,
            component="signup",
            summary="Signups fail",
            description=(
                "{{ $value | humanizePercentage }} of the requests to the signup API end with 5xx."
            ),
            expected_when="the database is being failed over",
        ),
        Alert(
            name="MailTopicSignupDown",
            expr=f"max_over_time({COUNT}[6h]) unless on (namespace) {COUNT}",
            hold="2m",
            hold_reason="a pod with SQLite is stopped before the next one starts",
            severity=Severity.PAGE,
            component="signup",
            summary="No signup process answers",
            description=(
                "No process of the signup API answers Prometheus; within the last 6 hours there"
                " were {{ $value }}."
            ),
            expected_when="it was uninstalled",
        ),
    )
