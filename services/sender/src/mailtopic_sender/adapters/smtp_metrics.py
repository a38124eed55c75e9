"""What there is to know of the relays, read when Prometheus asks."""

from collections.abc import Callable, Iterable, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mailtopic_sender.adapters.smtp_breaker import Gate
from mailtopic_sender.adapters.smtp_relay_client import RelayState


class RelayMetrics(Collector):
    """Connections, breakers and replies of each relay. May be read by any thread."""

    def __init__(self, relays: Callable[[], Sequence[RelayState]], *, topic: str) -> None:
        """Take the numbers from `SmtpMailer.relays`; topic is the MailTopic's main topic."""
        self._relays = relays
        self._topic = topic

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics as they are now."""
        connections = GaugeMetricFamily(
            "mailtopic_connections", "Open connections.", labels=("relay", "state")
        )
        limits = GaugeMetricFamily(
            "mailtopic_connections_limit",
            "Connections that the relay is trusted to bear just now.",
            labels=("relay",),
        )
        breakers = GaugeMetricFamily(
            "mailtopic_breaker_open",
            "1 while mails are kept away from the relay because it takes none.",
            labels=("relay",),
        )
        replies = CounterMetricFamily(
            "mailtopic_smtp_replies",
            "What relays answered, to mails and to attempts to open a session, by reply class.",
            labels=("topic", "relay", "class"),
        )
        for state in self._relays():
            connections.add_metric((state.relay, "busy"), state.pool.busy)
            connections.add_metric((state.relay, "idle"), state.pool.idle)
            limits.add_metric((state.relay,), state.pool.limit)
            breakers.add_metric((state.relay,), float(state.gate is not Gate.ALL))
            for kind, count in state.replies.items():
                replies.add_metric((self._topic, state.relay, kind.value), count)
        return connections, limits, breakers, replies
