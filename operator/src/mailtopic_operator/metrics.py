"""How the operator updates its own metrics; they are declared in `metric_families`."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mailtopic_operator import metric_families as families
from mailtopic_operator.domain.conditions import READY

_STATUSES = range(100, 600)
"""Valid HTTP status codes (RFC 9110 §15); an answer with another isn't from an API server."""

Bodies = Callable[[], Iterable[Mapping[str, Any]]]
"""Returns MailTopics as last seen. Called from another thread."""


class OperatorMetrics:
    """All of them, in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self.reconciles = families.RECONCILES.counter(registry)
        self.reconcile_seconds = families.RECONCILE_SECONDS.histogram(registry)
        self.batch_size = families.BATCH_SIZE.histogram(registry)
        self.managed_topics = families.MANAGED_TOPICS.gauge(registry)
        self.drift_corrections = families.DRIFT_CORRECTIONS.counter(registry)
        self.actions = families.ACTIONS.counter(registry)
        self._api_requests = families.API_REQUESTS.counter(registry)
        self.admin_requests = families.ADMIN_REQUESTS.counter(registry)
        self.queue_depth = families.QUEUE_DEPTH.gauge(registry)
        self.watch_age_seconds = families.WATCH_AGE_SECONDS.gauge(registry)
        self.is_leader = families.IS_LEADER.gauge(registry)
        self.leader_changes = families.LEADER_CHANGES.counter(registry)

    def count_api_request(self, verb: str, status: int | None) -> None:
        """Count one request; None: there was no answer."""
        code = "none" if status is None else str(status) if status in _STATUSES else "other"
        self._api_requests.labels(*families.API_REQUESTS.bound(verb, code)).inc()

    def watch(
        self,
        *,
        queue_depth: Callable[[], float],
        watch_age_s: Callable[[], float],
        mailtopics: Bodies,
    ) -> None:
        """Read these at each scrape. Called once, by the leading replica."""
        self.queue_depth.set_function(queue_depth)
        self.watch_age_seconds.set_function(watch_age_s)
        self._registry.register(ConditionMetrics(mailtopics))


class ConditionMetrics(Collector):
    """How many MailTopics have which condition; counted at each scrape."""

    def __init__(self, mailtopics: Bodies) -> None:
        self._mailtopics = mailtopics

    def collect(self) -> Iterable[Metric]:
        """Yield a number for every condition and status, even if it is 0."""
        family = families.MAILTOPICS
        counted = Counter(pair for body in self._mailtopics() for pair in _conditions(body))
        metric = GaugeMetricFamily(family.name, family.help, labels=family.label_names)
        for condition in families.CONDITIONS:
            for status in families.STATUSES:
                metric.add_metric((condition, status), counted[condition, status])
        return (metric,)


def _conditions(body: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    found = (body.get("status") or {}).get("conditions") or ()
    statuses = {each.get("type"): each.get("status") for each in found}
    return {READY: "Unknown", **statuses}.items()
