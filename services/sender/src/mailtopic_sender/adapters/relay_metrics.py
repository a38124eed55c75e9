"""The state of the relays, read at each scrape."""

from collections.abc import Callable, Iterable, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mailtopic_runtime import Family
from mailtopic_sender import metric_families as families
from mailtopic_sender.engine.relays.breaker import BreakerState
from mailtopic_sender.engine.relays.state import RelayState


class RelayMetrics(Collector):
    """Connections, breakers, paces and replies of each relay. Thread-safe."""

    def __init__(self, relays: Callable[[], Sequence[RelayState]], *, topic: str) -> None:
        """Take the numbers from `RelayMailer.relays`; topic is the MailTopic's main topic."""
        self._relays = relays
        self._topic = topic

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics as they are now."""
        connections = _gauge(families.CONNECTIONS)
        limits = _gauge(families.CONNECTIONS_LIMIT)
        breakers = _gauge(families.BREAKER_OPEN)
        rates = _gauge(families.RATE_LIMIT)
        learned_rates = _gauge(families.LEARNED_RATE)
        learned_connections = _gauge(families.LEARNED_CONNECTIONS)
        learned_mails = _gauge(families.LEARNED_MAILS)
        waiting = _gauge(families.RELAY_WAITING)
        replies = CounterMetricFamily(
            families.SMTP_REPLIES.name,
            families.SMTP_REPLIES.help,
            labels=families.SMTP_REPLIES.label_names,
        )
        for state in self._relays():
            labels = (self._topic, state.relay)
            connections.add_metric((*labels, "busy"), state.connections.busy)
            connections.add_metric((*labels, "idle"), state.connections.idle)
            limits.add_metric(labels, state.connections.limit)
            breakers.add_metric(labels, float(state.breaker is not BreakerState.CLOSED))
            if state.rate_per_s is not None:
                rates.add_metric(labels, state.rate_per_s)
            if state.learned.rate_per_s is not None:
                learned_rates.add_metric(labels, state.learned.rate_per_s)
            if state.learned.connections is not None:
                learned_connections.add_metric(labels, state.learned.connections)
            if state.learned.mails_per_connection is not None:
                learned_mails.add_metric(labels, state.learned.mails_per_connection)
            waiting.add_metric(labels, state.waiting)
            for kind, count in state.replies.items():
                replies.add_metric((*labels, kind.value), count)
        learned = (learned_rates, learned_connections, learned_mails, waiting)
        return connections, limits, breakers, rates, *learned, replies


def _gauge(family: Family) -> GaugeMetricFamily:
    return GaugeMetricFamily(family.name, family.help, labels=family.label_names)
