"""Kafka, as the agent in the chart's own brokers reports it."""

from typing import Final

from mailtopic_observability.dashboards.colors import EXPECTED, NEVER, at_least, at_most
from mailtopic_observability.dashboards.frame import Board, Choice
from mailtopic_observability.dashboards.panels import About, Query, Row, lines, number
from mailtopic_observability.dashboards.queries import (
    NAMESPACE,
    or_zero,
    parts,
    rate,
)

_SERVER = "kafka_server"
_REPLICAS = f"{_SERVER}_replicamanager"
_CONTROLLER = "kafka_controller_kafkacontroller"
_RECORDS = f"{_SERVER}_brokertopicmetrics"
# Kafka's own topics begin with two underscores.
_OURS = f'{NAMESPACE},topic!="",topic!~"__.*"'
_DISK = "mailtopic_kafka_agent_disk"

_NOW: Final = Row(
    "Now",
    (
        number(
            About(
                "Brokers",
                "short",
                "Brokers that serve, as the leading controller counts them.",
                ("KafkaDown", "KafkaBrokerFenced"),
            ),
            Query(or_zero(f"max({_CONTROLLER}_activebrokercount{{{NAMESPACE}}})")),
            steps=EXPECTED,
        ),
        number(
            About(
                "Leading controller",
                "short",
                "Nodes that lead the quorum: 1. Without it no topic can be changed, and no "
                "leader replaced.",
                ("KafkaNoQuorum",),
            ),
            Query(or_zero(f"sum({_CONTROLLER}_activecontrollercount{{{NAMESPACE}}})")),
            steps=EXPECTED,
        ),
        number(
            About(
                "Partitions without a leader",
                "short",
                "They can be neither written nor read.",
                ("KafkaOfflinePartitions",),
            ),
            Query(or_zero(f"max({_CONTROLLER}_offlinepartitionscount{{{NAMESPACE}}})")),
            steps=NEVER,
        ),
        number(
            About(
                "Refuse records",
                "suffix:partitions",
                "Partitions with fewer replicas in sync than acks=all needs.",
                ("KafkaUnderMinIsr",),
            ),
            Query(or_zero(f"sum({_REPLICAS}_underminisrpartitioncount{{{NAMESPACE}}})")),
            steps=NEVER,
        ),
        number(
            About(
                "Under-replicated",
                "suffix:partitions",
                "Partitions with a replica that is behind or away. Passes after a restart.",
                ("KafkaUnderReplicated",),
            ),
            Query(or_zero(f"sum({_REPLICAS}_underreplicatedpartitions{{{NAMESPACE}}})")),
            steps=at_most(worse=1, bad=10),
        ),
        number(
            About(
                "Fullest disk",
                "percentunit",
                "Used share of the volume with the least left. A full one stops its broker.",
                ("KafkaDiskAlmostFull", "KafkaDiskFilling"),
            ),
            Query(
                f"max(1 - {_DISK}_free_bytes{{{NAMESPACE}}} / {_DISK}_size_bytes{{{NAMESPACE}}})"
            ),
            steps=at_most(worse=0.75, bad=0.9),
            decimals=0,
        ),
    ),
)

_QUORUM: Final = Row(
    "Replicas and quorum",
    (
        lines(
            About(
                "Partitions in trouble",
                "suffix:partitions",
                "0 is the only good value, but for minutes after a restart.",
                ("KafkaUnderReplicated", "KafkaUnderMinIsr"),
            ),
            Query(
                f"sum({_REPLICAS}_underreplicatedpartitions{{{NAMESPACE}}})",
                "under-replicated",
            ),
            Query(f"sum({_REPLICAS}_underminisrpartitioncount{{{NAMESPACE}}})", "refusing"),
            Query(f"sum({_REPLICAS}_offlinereplicacount{{{NAMESPACE}}})", "replicas offline"),
            width=8,
        ),
        lines(
            About(
                "Leaders by broker",
                "suffix:partitions",
                "Partitions that each broker serves. All at one broker: the others are not back "
                "for long.",
            ),
            Query(f"sum by (pod) ({_REPLICAS}_leadercount{{{NAMESPACE}}})", "{{pod}}"),
            stacked=True,
            width=8,
        ),
        lines(
            About(
                "Metadata behind the quorum",
                "suffix:records",
                "How far each node's metadata is from the furthest node's.",
                ("KafkaNoQuorum",),
            ),
            Query(
                f"scalar(max({_SERVER}_raft_metrics_log_end_offset{{{NAMESPACE}}}))"
                f" - max by (pod) ({_SERVER}_raft_metrics_log_end_offset{{{NAMESPACE}}})",
                "{{pod}}",
            ),
            width=8,
        ),
    ),
)

_TRAFFIC: Final = Row(
    "Traffic",
    (
        lines(
            About(
                "Records in by topic",
                "suffix:records/s",
                "mails: asked for; status: outcomes; retry: deferred; dlq: dead.",
            ),
            Query(
                parts(f"{_RECORDS}_messagesin_total", _OURS, "topic"),
                "{{topic}}",
            ),
            stacked=True,
            as_bars=True,
            width=8,
        ),
        lines(
            About("Bytes", "Bps", "To and from clients and, with replicas, other brokers."),
            *(
                Query(rate(f"{_RECORDS}_bytes{way}_total", f'{NAMESPACE},topic=""'), way)
                for way in ("in", "out")
            ),
            width=8,
        ),
        lines(
            About(
                "Size by topic",
                "bytes",
                "Bytes of the topics' logs on all brokers.",
                ("KafkaDiskFilling",),
            ),
            Query(f"sum by (topic) (kafka_log_log_size{{{_OURS}}})", "{{topic}}"),
            stacked=True,
            width=8,
        ),
    ),
)

_WANTED = f'{NAMESPACE},request=~"Produce|Fetch|FetchConsumer|Heartbeat|OffsetCommit"'
_TIMES = f'{NAMESPACE},request=~"Produce|FetchConsumer|OffsetCommit",quantile="0.99"'
_REQUESTS: Final = Row(
    "Requests",
    (
        lines(
            About("Requests", "suffix:requests/s", "By kind; polls of consumers are Fetch."),
            Query(
                rate("kafka_network_requestmetrics_requests_total", _WANTED, "request"),
                "{{request}}",
            ),
            width=8,
        ),
        lines(
            About(
                "Time to answer, p99",
                "ms",
                "FetchConsumer waits for records, up to half a second; Produce and "
                "OffsetCommit wait for replicas and disks.",
            ),
            Query(
                f"max by (request) (kafka_network_requestmetrics_totaltimems{{{_TIMES}}})",
                "{{request}}",
            ),
            width=8,
        ),
        lines(
            About(
                "Failed requests",
                "suffix:requests/s",
                "Produce and fetch requests that brokers refused or failed at.",
            ),
            *(
                Query(
                    or_zero(
                        rate(f"{_RECORDS}_failed{kind}requests_total", f'{NAMESPACE},topic=""')
                    ),
                    kind,
                )
                for kind in ("produce", "fetch")
            ),
            width=8,
        ),
    ),
)

_NODES: Final = Row(
    "Nodes",
    (
        lines(
            About(
                "Idle",
                "percentunit",
                "Share of time that request handlers and network threads have nothing to do; "
                "below 30 % a broker is overloaded.",
            ),
            Query(
                f"min by (pod) ({_SERVER}_kafkarequesthandlerpool_requesthandleravgidle_percent"
                f"{{{NAMESPACE}}})",
                "handlers {{pod}}",
            ),
            Query(
                "min by (pod) (kafka_network_socketserver_networkprocessoravgidle_percent"
                f"{{{NAMESPACE}}})",
                "network {{pod}}",
            ),
            steps=at_least(worse=0.3, good=0.5),
            most=1,
            width=6,
        ),
        lines(
            About(
                "Disk left",
                "bytes",
                "Bytes that each volume has left.",
                ("KafkaDiskFilling",),
            ),
            Query(f"min by (pod) ({_DISK}_free_bytes{{{NAMESPACE}}})", "{{pod}}"),
            width=6,
        ),
        lines(
            About("Heap", "bytes", "Memory in use by the JVM, of what it may use (dashed)."),
            Query(f'max by (pod) (jvm_memory_used_bytes{{{NAMESPACE},area="heap"}})', "{{pod}}"),
            Query(f'max(jvm_memory_max_bytes{{{NAMESPACE},area="heap"}})', "limit"),
            dashed=("limit",),
            colors={"limit": "red"},
            width=6,
        ),
        lines(
            About(
                "Garbage collection",
                "percentunit",
                "Share of time that is spent in it; above 10 % the heap is too small.",
            ),
            Query(rate("jvm_gc_collection_seconds_sum", NAMESPACE, "pod"), "{{pod}}"),
            steps=at_most(worse=0.05, bad=0.1),
            width=6,
        ),
    ),
)

BOARD: Final = Board(
    name="kafka",
    title="MailTopic / Kafka",
    description="The Kafka of the chart: quorum, replicas, traffic, disks.",
    choices=(Choice("namespace", f"{_SERVER}_kafkaserver_brokerstate"),),
    rows=(_NOW, _QUORUM, _TRAFFIC, _REQUESTS, _NODES),
)
