"""The operator and its MailTopics. Mails don't pass through it, so none of its alerts pages."""

from typing import Final

from mailtopic_observability.rules.model import Alert, Group, Recording, Rule, Severity

COUNT: Final = "mailtopic:operator:count"

_WATCH_AGE_S: Final = 150
"""Bookmarks arrive every minute; after 180 s (watch.staleS) the operator restarts itself."""


def group() -> Group:
    """Return the rules."""
    count = Recording(
        COUNT,
        "count by (namespace) (mailtopic_operator_is_leader)",
        "Operators that answer Prometheus.",
    )
    return Group("mailtopic-operator", (count, *_processes(), *_work()))


def _processes() -> tuple[Rule, ...]:
    return (
        _ticket(
            name="MailTopicOperatorDown",
            expr=f"max_over_time({COUNT}[6h]) unless on (namespace) {COUNT}",
            hold=("10m", "senders go on without it; a node that is replaced is back by then"),
            summary="No operator answers",
            description=(
                "No operator answers Prometheus; within the last 6 hours there were {{ $value }}."
                " Senders go on, but changes of MailTopics do nothing."
            ),
            expected_when="it was uninstalled",
        ),
        _ticket(
            name="MailTopicOperatorNoLeader",
            expr="sum by (namespace) (mailtopic_operator_is_leader) == 0",
            hold=("5m", "another replica follows within the Lease's 15 s"),
            summary="Operators run, but none acts",
            description="No operator holds the Lease, so changes of MailTopics do nothing.",
            expected_when="the API server is away",
        ),
        _ticket(
            name="MailTopicOperatorWatchStale",
            expr=f"max_over_time(mailtopic_operator_watch_age_seconds[10m]) > {_WATCH_AGE_S}",
            hold=("0s", "soon after that it restarts itself, and the number is gone"),
            summary="The operator hears nothing from the API server",
            description=(
                "A watch brought nothing for {{ $value | humanizeDuration }}, not even the bookmark"
                " of every minute. The operator restarts itself, and catches up at its resync."
            ),
            expected_when="the API server was away",
        ),
    )


def _work() -> tuple[Rule, ...]:
    reconciles = "mailtopic_operator_reconciles_total"
    return (
        _ticket(
            name="MailTopicOperatorErrors",
            expr=(
                f'sum by (namespace) (rate({reconciles}{{result="failed"}}[10m]))\n'
                f"/ (sum by (namespace) (rate({reconciles}[10m])) > 0) > 0.1"
            ),
            hold=("15m", "it tries again by itself, and an outage of Kafka has its own alert"),
            summary="The operator fails again and again",
            description=(
                "{{ $value | humanizePercentage }} of its looks at MailTopics end with an error."
            ),
            expected_when="Kafka or the API server is away",
        ),
        _ticket(
            name="MailTopicNotReady",
            expr=(
                "sum by (namespace, status) (mailtopic_operator_mailtopics"
                '{condition="Ready",status=~"False|Unknown"}) > 0'
            ),
            hold=("15m", "images are pulled and pods start within it"),
            summary="A MailTopic isn't ready",
            description=(
                "{{ $value }} MailTopics have the condition Ready {{ $labels.status }}:"
                " kubectl get mailtopics --all-namespaces names them and the reasons."
            ),
            expected_when="one is being set up, or its Secret isn't there yet",
        ),
    )


def _ticket(
    *,
    name: str,
    expr: str,
    hold: tuple[str, str],
    summary: str,
    description: str,
    expected_when: str,
) -> Alert:
    return Alert(
        name=name,
        expr=expr,
        hold=hold[0],
        hold_reason=hold[1],
        severity=Severity.TICKET,
        component="operator",
        summary=summary,
        description=description,
        expected_when=expected_when,
    )
