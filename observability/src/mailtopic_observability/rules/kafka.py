"""Kafka, by the metrics of the agent in its pods.

Without it, senders and signup wait and lose nothing, but users wait as well.
"""

from typing import Final

from mailtopic_observability.rules.model import Alert, Group, Recording, Rule, Severity

COUNT: Final = "kafka:nodes:count"

_REPLICAS: Final = "kafka_server_replicamanager"
_CONTROLLER: Final = "kafka_controller_kafkacontroller"
_FREE: Final = "mailtopic_kafka_agent_disk_free_bytes"
_SIZE: Final = "mailtopic_kafka_agent_disk_size_bytes"


def group() -> Group:
    """Return the rules."""
    count = Recording(
        COUNT,
        "count by (namespace) (kafka_server_raft_metrics_current_leader)",
        "Nodes of Kafka that answer Prometheus.",
    )
    return Group("mailtopic-kafka", (count, *_outages(), *_redundancy(), *_disks()))


def _alert(
    severity: Severity,
    name: str,
    expr: str,
    *,
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
        severity=severity,
        component="kafka",
        summary=summary,
        description=description,
        expected_when=expected_when,
    )


def _outages() -> tuple[Rule, ...]:
    return (
        _alert(
            Severity.PAGE,
            "KafkaDown",
            f"max_over_time({COUNT}[6h]) unless on (namespace) {COUNT}",
            hold=("1m", "a single node that restarts is back by then"),
            summary="No node of Kafka answers",
            description=(
                "No node of Kafka answers Prometheus; within the last 6 hours there were {{"
                " $value }}. Signups are still accepted and wait in the outbox; no code"
                " arrives."
            ),
            expected_when="Kafka was uninstalled",
        ),
        _alert(
            Severity.PAGE,
            "KafkaNoQuorum",
            f"{COUNT} unless on (namespace)"
            f" (sum by (namespace) ({_CONTROLLER}_activecontrollercount) > 0)",
            hold=("1m", "an election takes seconds"),
            summary="Kafka's controllers have no leader",
            description=(
                "{{ $value }} nodes of Kafka run, and none is the active controller. Brokers"
                " serve the partitions that they lead, but no leader can change and no topic"
                " be made."
            ),
            expected_when="more than half of the controllers are being restarted",
        ),
        _alert(
            Severity.PAGE,
            "KafkaOfflinePartitions",
            f"max by (namespace) ({_CONTROLLER}_offlinepartitionscount) > 0",
            hold=("1m", "a leader's election takes seconds"),
            summary="Partitions have no leader",
            description=("{{ $value }} partitions of Kafka can be neither written nor read."),
            expected_when="all brokers that hold a partition are being restarted",
        ),
        _alert(
            Severity.PAGE,
            "KafkaUnderMinIsr",
            f"sum by (namespace) ({_REPLICAS}_underminisrpartitioncount) > 0",
            hold=("1m", "replicas of a broker that restarts are back in sync soon after"),
            summary="Partitions refuse writes",
            description=(
                "{{ $value }} partitions have fewer replicas in sync than"
                " min.insync.replicas: they refuse records of acks=all, so no mail is"
                " accepted there and no outcome recorded."
            ),
            expected_when="several brokers are being restarted at once",
        ),
    )


def _redundancy() -> tuple[Rule, ...]:
    return (
        _alert(
            Severity.TICKET,
            "KafkaUnderReplicated",
            f"sum by (namespace) ({_REPLICAS}_underreplicatedpartitions) > 0",
            hold=("15m", "a broker that restarts has caught up by then"),
            summary="Partitions have fewer copies than they should",
            description=(
                "{{ $value }} partitions lack a replica in sync. Everything works; one more"
                " broker that fails may stop it."
            ),
            expected_when="a broker is being replaced and copies its data",
        ),
        _alert(
            Severity.TICKET,
            "KafkaBrokerFenced",
            f"max by (namespace) ({_CONTROLLER}_fencedbrokercount) > 0",
            hold=("5m", "a broker that restarts is unfenced by then"),
            summary="A broker is registered but doesn't serve",
            description=(
                "{{ $value }} brokers of Kafka are fenced: down, cut off, or still starting."
            ),
            expected_when="brokers were removed and not yet unregistered",
        ),
    )


def _disks() -> tuple[Rule, ...]:
    return (
        _alert(
            Severity.PAGE,
            "KafkaDiskAlmostFull",
            f"({_FREE} / {_SIZE} < 0.1)\n"
            "or\n"
            f"({_FREE} / {_SIZE} < 0.3 and predict_linear({_FREE}[1h], 4 * 3600) < 0)",
            hold=("5m", "a segment that is about to be deleted is deleted by then"),
            summary="A volume of Kafka is almost full",
            description=(
                "{{ $value | humanizePercentage }} of the volume {{ $labels.directory }} of"
                " {{ $labels.instance }} are free. A broker that can't write stops."
            ),
            expected_when="partitions are being moved to this broker",
        ),
        _alert(
            Severity.TICKET,
            "KafkaDiskFilling",
            f"{_FREE} / {_SIZE} < 0.5 and predict_linear({_FREE}[6h], 24 * 3600) < 0",
            hold=("30m", "a day's night and noon differ; half an hour of agreement is a trend"),
            summary="A volume of Kafka will be full within a day",
            description=(
                "{{ $value | humanizePercentage }} of the volume {{ $labels.directory }} of"
                " {{ $labels.instance }} are free, and at the pace of the last 6 hours none"
                " is left in a day."
            ),
            expected_when="a backlog is being kept for longer than usual",
        ),
    )
