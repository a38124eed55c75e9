"""The service's metrics. No address, code or id is ever a label."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

RESULTS = (
    "accepted",
    "known",
    "cooling",
    "replayed",
    "resent",
    "verified",
    "wrong_code",
    "locked",
    "expired",
    "refused",
    "throttled",
)


class SignupMetrics:
    """Everything that /metrics shows."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._signups = Counter(
            "mailtopic_signups",  # the library adds _total
            "What became of signups, resends and verifications",
            ["result"],
            registry=registry,
        )
        for result in RESULTS:
            self._signups.labels(result)
        self.outbox_pending = Gauge(
            "mailtopic_outbox_pending", "Mails that wait in the outbox", registry=registry
        )
        self.outbox_oldest = Gauge(
            "mailtopic_outbox_oldest_seconds",
            "Age of the oldest mail that waits in the outbox; 0 if none does",
            registry=registry,
        )
        self.published = Counter(
            "mailtopic_outbox_published", "Mails that Kafka acknowledged", registry=registry
        )
        self.request_seconds = Histogram(
            "mailtopic_request_seconds",
            "Time from a request's head to the end of its answer",
            ["method", "route", "status"],
            buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
            registry=registry,
        )

    def count(self, result: str) -> None:
        """Count one of RESULTS."""
        self._signups.labels(result).inc()


Count = Callable[[str], None]
