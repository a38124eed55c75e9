"""Whether Prometheus scrapes what the other rules need: without data no alert fires."""

from typing import Final

from mailtopic_observability.rules.model import Alert, Group, Severity

_OURS: Final = (
    "last_over_time(mailtopic_build_info[6h])"
    " or last_over_time(kafka_server_raft_metrics_current_leader[6h])"
)


def group() -> Group:
    """Return the rules."""
    return Group(
        "mailtopic-scraping",
        (
            Alert(
                name="MailTopicTargetDown",
                # By the series of a target, since job names depend on the installation.
                expr=f"up == 0\nand on (job, instance) ({_OURS})",
                hold="3m",
                hold_reason="a restart is over by then",
                severity=Severity.TICKET,
                component="scraping",
                summary="A process doesn't answer Prometheus",
                description=(
                    "{{ $labels.instance }} of job {{ $labels.job }} is there and can't be"
                    " scraped: it crashes, hangs, or a NetworkPolicy is in the way. If it was the"
                    " last one of its kind, another alert pages."
                ),
                expected_when="its pod is being restarted again and again by hand",
            ),
            Alert(
                name="MailTopicMetricsMissing",
                expr="absent(mailtopic_build_info)",
                hold="15m",
                hold_reason="an installation starts within it",
                severity=Severity.TICKET,
                component="scraping",
                summary="Prometheus scrapes nothing of MailTopic",
                description=(
                    "Not one process of MailTopic is known to this Prometheus, so no other alert"
                    " of MailTopic can fire."
                ),
                expected_when="the rules were loaded before MailTopic was installed",
            ),
        ),
    )
