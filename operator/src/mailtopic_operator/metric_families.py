"""The operator's own metrics, declared. No resource's name is ever a label."""

from typing import Final, get_args

from mailtopic_operator.domain import conditions
from mailtopic_operator.domain.actions import Action
from mailtopic_operator.domain.kafka import ProblemKind
from mailtopic_operator.domain.observed import KubeProblemKind
from mailtopic_operator.kinds import OWN_KINDS
from mailtopic_runtime import Family, Kind, Label

CONDITIONS: Final = (
    conditions.READY,
    conditions.TOPICS,
    conditions.SENDERS,
    conditions.CREDENTIALS,
    conditions.KAFKA_USER,
    conditions.RELAYS,
    conditions.DEAD_LETTERS,
    conditions.PAUSED,
    conditions.RECONCILING,
    conditions.STALLED,
)
STATUSES: Final = ("True", "False", "Unknown")
_PROBLEMS: Final = tuple(dict.fromkeys((*ProblemKind, *KubeProblemKind)))

RECONCILES: Final = Family(
    name="mailtopic_operator_reconciles_total",
    kind=Kind.COUNTER,
    help="Reconciled resources, by what became of them.",
    use="Whether reconciling fails; postponed ones met a passing trouble of the API server.",
    labels=(
        Label("kind", tuple(kind.kind for kind in OWN_KINDS)),
        Label("result", ("unchanged", "changed", "failed", "postponed")),
    ),
)
RECONCILE_SECONDS: Final = Family(
    name="mailtopic_operator_reconcile_seconds",
    kind=Kind.HISTOGRAM,
    help="From a batch's start to its last status.",
    use="How long a change takes to be acted on, beside the queue's depth.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120),
)
BATCH_SIZE: Final = Family(
    name="mailtopic_operator_batch_size",
    kind=Kind.HISTOGRAM,
    help="Resources that were reconciled together.",
    use="How much is done by one request to Kafka.",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200),
)
MAILTOPICS: Final = Family(
    name="mailtopic_operator_mailtopics",
    kind=Kind.GAUGE,
    help="MailTopics that have the condition with this status; one without Ready is Unknown.",
    use="How many are not ready, or stalled; which ones, kubectl get mailtopics -A tells.",
    labels=(Label("condition", CONDITIONS), Label("status", STATUSES)),
)
MANAGED_TOPICS: Final = Family(
    name="mailtopic_operator_managed_topics",
    kind=Kind.GAUGE,
    help="Kafka topics of the MailTopics that are managed.",
    use="How much there is to look after.",
)
DRIFT_CORRECTIONS: Final = Family(
    name="mailtopic_operator_drift_corrections_total",
    kind=Kind.COUNTER,
    help="Hand edits that were put back, by where they were made.",
    use="Somebody, or another controller, who changes the same objects.",
    labels=(Label("where", ("kubernetes", "kafka")),),
)
ACTIONS: Final = Family(
    name="mailtopic_operator_actions_total",
    kind=Kind.COUNTER,
    help="Actions that were carried out, by kind and result.",
    use="What the operator does, and why it can't: Forbidden is RBAC, Policy is Kafka's.",
    labels=(
        Label("action", tuple(action.__name__ for action in get_args(Action))),
        Label("result", ("done", *_PROBLEMS)),
    ),
)
API_REQUESTS: Final = Family(
    name="mailtopic_operator_api_requests_total",
    kind=Kind.COUNTER,
    help="Requests to the Kubernetes API, by method and status.",
    use="Refused requests (403, 429), and load on the API server.",
    labels=(
        Label("verb", ("get", "post", "put", "patch", "delete", "watch")),
        Label("code", words="status of HTTP; none where there was no answer"),
    ),
)
ADMIN_REQUESTS: Final = Family(
    name="mailtopic_operator_admin_requests_total",
    kind=Kind.COUNTER,
    help="Requests to Kafka's admin API, by operation and result.",
    use="Whether Kafka answers, and lets the operator do its work.",
    labels=(
        Label(
            "operation",
            (
                "create_topics",
                "create_partitions",
                "alter_configs",
                "delete_topics",
                "describe_topics",
                "describe_configs",
                "list_offsets",
                "list_group_offsets",
                "describe_cluster",
                "describe_users",
                "describe_acls",
                "alter_users",
                "create_acls",
                "delete_acls",
            ),
        ),
        Label("result", ("ok", "refused", "unavailable")),
    ),
)
QUEUE_DEPTH: Final = Family(
    name="mailtopic_operator_queue_depth",
    kind=Kind.GAUGE,
    help="Resources that wait to be reconciled.",
    use="Whether the operator keeps up.",
)
WATCH_AGE_SECONDS: Final = Family(
    name="mailtopic_operator_watch_age_seconds",
    kind=Kind.GAUGE,
    help="Seconds since the stalest watch last brought an event or a bookmark.",
    use="An operator that no longer sees what happens.",
)
IS_LEADER: Final = Family(
    name="mailtopic_operator_is_leader",
    kind=Kind.GAUGE,
    help="1 while this replica holds the lease, and so acts.",
    use="Whether there is exactly one: its sum over replicas.",
)
LEADER_CHANGES: Final = Family(
    name="mailtopic_operator_leader_changes_total",
    kind=Kind.COUNTER,
    help="Times that this replica began to lead.",
    use="A lease that is lost again and again.",
)

FAMILIES: Final = (
    MAILTOPICS,
    RECONCILES,
    RECONCILE_SECONDS,
    BATCH_SIZE,
    QUEUE_DEPTH,
    WATCH_AGE_SECONDS,
    MANAGED_TOPICS,
    ACTIONS,
    DRIFT_CORRECTIONS,
    API_REQUESTS,
    ADMIN_REQUESTS,
    IS_LEADER,
    LEADER_CHANGES,
)
"""All of them."""
