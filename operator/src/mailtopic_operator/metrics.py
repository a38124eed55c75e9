"""The operator's own metrics. No resource's name is ever a label."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_RECONCILE_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class OperatorMetrics:
    """All of them, in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.reconciles = Counter(
            "mailtopic_operator_reconciles",
            "Reconciled resources, by what became of them: unchanged, changed, failed.",
            ("kind", "result"),
            registry=registry,
        )
        self.reconcile_seconds = Histogram(
            "mailtopic_operator_reconcile_seconds",
            "From a batch's start to its last status.",
            buckets=_RECONCILE_S,
            registry=registry,
        )
        self.batch_size = Histogram(
            "mailtopic_operator_batch_size",
            "Resources that were reconciled together.",
            buckets=(1, 2, 5, 10, 20, 50, 100, 200),
            registry=registry,
        )
        self.managed_topics = Gauge(
            "mailtopic_operator_managed_topics",
            "Kafka topics of the MailTopics that are managed.",
            registry=registry,
        )
        self.drift_corrections = Counter(
            "mailtopic_operator_drift_corrections",
            "Hand edits that were put back, by where they were made.",
            ("where",),
            registry=registry,
        )
        self.actions = Counter(
            "mailtopic_operator_actions",
            "Actions that were carried out, by kind and result.",
            ("action", "result"),
            registry=registry,
        )
        self._api_requests = Counter(
            "mailtopic_operator_api_requests",
            "Requests to the Kubernetes API, by method and status.",
            ("verb", "code"),
            registry=registry,
        )
        self.admin_requests = Counter(
            "mailtopic_operator_admin_requests",
            "Requests to Kafka's admin API, by operation and result.",
            ("operation", "result"),
            registry=registry,
        )
        self.queue_depth = Gauge(
            "mailtopic_operator_queue_depth",
            "Resources that wait to be reconciled.",
            registry=registry,
        )
        self.watch_age_seconds = Gauge(
            "mailtopic_operator_watch_age_seconds",
            "Seconds since the stalest watch last brought an event or a bookmark.",
            registry=registry,
        )
        self.is_leader = Gauge(
            "mailtopic_operator_is_leader",
            "1 while this replica holds the lease, and so acts.",
            registry=registry,
        )
        self.leader_changes = Counter(
            "mailtopic_operator_leader_changes",
            "Times that this replica began to lead.",
            registry=registry,
        )

    def count_api_request(self, verb: str, status: int | None) -> None:
        """Count one request; None: there was no answer."""
        self._api_requests.labels(verb, str(status) if status else "none").inc()

    def watch(self, *, queue_depth: Callable[[], float], watch_age_s: Callable[[], float]) -> None:
        """Ask these whenever somebody looks."""
        self.queue_depth.set_function(queue_depth)
        self.watch_age_seconds.set_function(watch_age_s)
