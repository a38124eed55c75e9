"""The engine's interface to its metrics, which `metric_families` declares."""

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter

from mailtopic_sender import metric_families as families


class SenderMetrics:
    """The engine's metrics in one registry; ``topic`` is the MailTopic's main topic."""

    def __init__(
        self, registry: CollectorRegistry, topic: str, *, relays: Iterable[str] = ()
    ) -> None:
        """Register the metrics; those with known labels start at 0.

        Args:
            registry: the registry that shows them.
            topic: the main topic.
            relays: names of the configured relays.
        """
        self.topic = topic
        known = {"topic": (topic,), "relay": ("", *relays)}
        self._mails = families.MAILS.counter(registry, **known)
        self._delivery_seconds = families.DELIVERY_SECONDS.histogram(registry, **known).labels(
            topic
        )
        self._last_delivery_ms = 0
        families.LAST_DELIVERY.gauge(registry, **known).labels(topic).set_function(
            lambda: self._last_delivery_ms / 1000
        )
        stages = families.STAGE_SECONDS.histogram(registry, **known)
        self._queue, self._wait, self._connect, self._transmit = (
            stages.labels(*families.STAGE_SECONDS.bound(topic, stage))
            for stage in ("queue", "wait", "connect", "transmit")
        )
        self._outcomes: dict[tuple[str, str | None], Counter] = {}
        none: Mapping[str, tuple[str, ...]] = {"topic": ()}  # partitions are assigned later
        self.lag_seconds = families.LAG_SECONDS.gauge(registry, **none)
        self.watermark_age_seconds = families.WATERMARK_AGE_SECONDS.gauge(registry, **none)
        self.window_offsets = families.WINDOW_OFFSETS.gauge(registry, **none)
        self.of_partitions = (self.lag_seconds, self.watermark_age_seconds, self.window_offsets)
        self.in_flight = families.IN_FLIGHT.gauge(registry, **known).labels(topic)
        self._held_records = families.HELD_RECORDS.gauge(registry, **known)
        self._parked_records = families.PARKED_RECORDS.gauge(registry, **known)
        self._dead_letters = families.DEAD_LETTERS.counter(registry, **known)
        self.dlq_flood_open = families.DLQ_FLOOD_OPEN.gauge(registry, **known).labels(topic)
        self.refused_alike = families.REFUSED_ALIKE.gauge(registry, **known).labels(topic)
        self._replays_skipped = families.REPLAYS_SKIPPED.counter(registry, **known)
        self.times_in_seconds = families.TIMES_IN_SECONDS.counter(registry, **known).labels(topic)
        self.records_gone = families.RECORDS_GONE.counter(registry, **known).labels(topic)
        self.stale_completions = families.STALE_COMPLETIONS.counter(registry, **known).labels(topic)
        self.commits_failed = families.COMMITS_FAILED.counter(registry, **known).labels(topic)
        self.drain_timeouts = families.DRAIN_TIMEOUTS.counter(registry, **known).labels(topic)
        self.status_records_skipped = families.STATUS_RECORDS_SKIPPED.counter(
            registry, **known
        ).labels(topic)
        self._rebalances = families.REBALANCES.counter(registry, **known)

    def outcome(self, outcome: str, relay: str | None) -> None:
        """Count a recorded outcome."""
        # In the library, looking up a child costs more than counting.
        child = self._outcomes.get((outcome, relay))
        if child is None:
            child = self._mails.labels(*families.MAILS.bound(self.topic, relay or "", outcome))
            self._outcomes[outcome, relay] = child
        child.inc()

    def delivered(
        self, seconds: float, at_ms: int, exemplar: Mapping[str, str] | None = None
    ) -> None:
        """Observe that a relay accepted a mail, and when (epoch milliseconds).

        Args:
            seconds: since the API accepted the mail; not below 0 if clocks disagree.
            at_ms: now.
            exemplar: an example trace.
        """
        self._delivery_seconds.observe(max(seconds, 0.0), dict(exemplar) if exemplar else None)
        self._last_delivery_ms = at_ms

    def queued(self, seconds: float) -> None:
        """Observe how long a record was in Kafka before it was read."""
        self._queue.observe(max(seconds, 0.0))

    def attempt(self, wait_s: float, connect_s: float, transmit_s: float) -> None:
        """Observe the stages of an attempt, seconds, none below 0."""
        self._wait.observe(wait_s)
        self._connect.observe(connect_s)
        self._transmit.observe(transmit_s)

    def dead_letter(self, reason: str) -> None:
        """Count a record written to the DLQ."""
        self._dead_letters.labels(*families.DEAD_LETTERS.bound(self.topic, reason)).inc()

    def skipped(self, source: str) -> None:
        """Count a record that was known to be done, by commit metadata or by the ledger."""
        self._replays_skipped.labels(*families.REPLAYS_SKIPPED.bound(self.topic, source)).inc()

    def rebalanced(self, consumer: str) -> None:
        """Count an assignment of the main or the retry consumer."""
        self._rebalances.labels(*families.REBALANCES.bound(self.topic, consumer)).inc()

    def holds(self, consumer: str, records: int) -> None:
        """Show how many records a consumer holds."""
        self._held_records.labels(*families.HELD_RECORDS.bound(self.topic, consumer)).set(records)

    def parks(self, consumer: str, records: int) -> None:
        """Show how many records of a consumer wait in their partitions for the DLQ."""
        self._parked_records.labels(*families.PARKED_RECORDS.bound(self.topic, consumer)).set(
            records
        )
