"""The service's metrics. No address, code or id is ever a label."""

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry

from mailtopic_runtime import Family, Kind, Label
from mailtopic_signup.domain.challenge import Delivery

RESULTS: Final = (
    "accepted",
    "known",
    "cooling",
    "replayed",
    "resent",
    "verified",
    "wrong_code",
    "locked",
    "new_code_needed",
    "expired",
    "refused",
    "throttled",
)
METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "OTHER")

SIGNUPS: Final = Family(
    name="mailtopic_signups_total",
    kind=Kind.COUNTER,
    help="What became of signups, resends and verifications.",
    use="The funnel: accepted to verified; guessing shows as wrong_code and new_code_needed.",
    labels=(Label("result", RESULTS),),
)
OUTBOX_PENDING: Final = Family(
    name="mailtopic_outbox_pending",
    kind=Kind.GAUGE,
    help="Mails that wait in the outbox.",
    use="What Kafka has not taken yet. Every replica shows the same: take the maximum.",
)
OUTBOX_OLDEST_SECONDS: Final = Family(
    name="mailtopic_outbox_oldest_seconds",
    kind=Kind.GAUGE,
    help="Age of the oldest mail that waits in the outbox; 0 if none does.",
    use="Whether acknowledged mails fail to leave for Kafka. Take the maximum of replicas.",
)
OUTBOX_PUBLISHED: Final = Family(
    name="mailtopic_outbox_published_total",
    kind=Kind.COUNTER,
    help="Mails that Kafka acknowledged.",
    use="The rate at which mails come in, to set against what senders deliver.",
)
REQUEST_SECONDS: Final = Family(
    name="mailtopic_request_seconds",
    kind=Kind.HISTOGRAM,
    help="Time from a request's head to the end of its answer.",
    use="Errors and slowness of the API, by route.",
    labels=(
        Label("method", METHODS),
        Label("route", words="a route's template, /static, or unmatched"),
        Label("status", words="status of HTTP; 499 where the client hung up"),
    ),
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
DELIVERY_STATES: Final = Family(
    name="mailtopic_delivery_states_total",
    kind=Kind.COUNTER,
    help="Outcomes that N.status told, as the person who waits sees them.",
    use="The end of the funnel: sent against accepted. A restart may count some twice.",
    labels=(Label("state", tuple(each for each in Delivery if each is not Delivery.QUEUED)),),
)

STATUS_RECORDS_SKIPPED: Final = Family(
    name="mailtopic_signup_status_records_skipped_total",
    kind=Kind.COUNTER,
    help="Records of a status topic that are no outcomes.",
    use="Whether something else writes to a status topic.",
)

FAMILIES: Final = (
    SIGNUPS,
    REQUEST_SECONDS,
    OUTBOX_PENDING,
    OUTBOX_OLDEST_SECONDS,
    OUTBOX_PUBLISHED,
    DELIVERY_STATES,
    STATUS_RECORDS_SKIPPED,
)
"""All of them."""


class SignupMetrics:
    """Everything that /metrics shows."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._signups = SIGNUPS.counter(registry)
        self.outbox_pending = OUTBOX_PENDING.gauge(registry)
        self.outbox_oldest = OUTBOX_OLDEST_SECONDS.gauge(registry)
        self.published = OUTBOX_PUBLISHED.counter(registry)
        self._request_seconds = REQUEST_SECONDS.histogram(registry)
        self.status_records_skipped = STATUS_RECORDS_SKIPPED.counter(registry)
        self._delivery_states = DELIVERY_STATES.counter(registry)

    def count(self, result: str) -> None:
        """Count one of RESULTS."""
        self._signups.labels(*SIGNUPS.bound(result)).inc()

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Observe an answered request; the route is a template, never a path."""
        labels = REQUEST_SECONDS.bound(method, route, str(status))
        self._request_seconds.labels(*labels).observe(seconds)

    def delivery(self, state: Delivery) -> None:
        """Count what an event of N.status meant to the person waiting for the mail."""
        self._delivery_states.labels(*DELIVERY_STATES.bound(state)).inc()


Count = Callable[[str], None]
CountDelivery = Callable[[Delivery], None]
