"""docs/runbooks/README.md: every alert and every recorded series on one page."""

from collections.abc import Sequence

from mailtopic_observability.generate import RENEW
from mailtopic_observability.rules.model import Alert, Group, Severity

_HEAD = f"""<!-- Written by {RENEW}. -->
# Alerts

Each has its runbook: what it means, what to look at, what to do. A *page* says that people don't
get their mails, or soon won't; a *ticket* waits for the morning.
How to install the rules: [observability](../guides/observability.md).

Commands in the runbooks are for a release `mailtopic` in the namespace `mail` and a topic `mails`;
put yours in their place.
"""

_TOOLS = """## Tools

The command line, in the cluster:

    kubectl -n mail run mailtopic-cli --rm -it --restart=Never \\
      --image=mailtopic/cli:0.1.0 --labels=mailtopic.dev/kafka-client=true \\
      -- dlq list --topic mails --bootstrap-servers mailtopic-kafka:9092

Kafka's own, not in a broker's pod, where a second JVM may take the first one's memory:

    kubectl -n mail run kafka-tools --rm -it --restart=Never --env=LOG_DIR=/tmp \\
      --image=apache/kafka:4.3.1 --labels=mailtopic.dev/kafka-client=true \\
      --command -- /opt/kafka/bin/kafka-topics.sh --bootstrap-server mailtopic-kafka:9092 \\
      --describe --unavailable-partitions

That image is the official one; the local cluster's, from `make images`, has no scripts.
Where Kafka asks for TLS or a login, the first takes `MAILTOPIC_KAFKA__…` as the senders do
(`--env`), the others a file of settings (`--command-config`).

What a process shows, without Prometheus:

    kubectl -n mail port-forward deployment/mailtopic-sender 9100 &
    curl -s localhost:9100/metrics | grep mailtopic_breaker_open
"""


def overview(groups: Sequence[Group]) -> str:
    """Return the page."""
    lines = [_HEAD]
    for severity in Severity:
        lines += [
            f"## {severity.value.capitalize()}s",
            "",
            "| alert | says | holds for | why so long |",
            "|---|---|---|---|",
            *_rows(groups, severity),
            "",
        ]
    lines += [_TOOLS]
    lines += ["## Recorded series", "", "| series | meaning |", "|---|---|"]
    lines += [
        f"| `{rule.record}` | {rule.meaning} |" for group in groups for rule in group.recordings
    ]
    return "\n".join(lines) + "\n"


def _rows(groups: Sequence[Group], severity: Severity) -> list[str]:
    rows: dict[str, list[Alert]] = {}
    for group in groups:
        for alert in group.alerts:
            if alert.severity is severity:
                rows.setdefault(alert.name, []).append(alert)
    return [_row(alerts) for alerts in rows.values()]


def _row(alerts: Sequence[Alert]) -> str:
    first = alerts[0]
    holds = ", ".join(_hold(alert) for alert in alerts)
    return f"| [{first.name}]({first.name}.md) | {first.summary} | {holds} | {first.hold_reason} |"


def _hold(alert: Alert) -> str:
    window = alert.labels.get("long_window")
    hold = "at once" if alert.hold == "0s" else alert.hold
    return f"{hold} ({window} window)" if window else hold
