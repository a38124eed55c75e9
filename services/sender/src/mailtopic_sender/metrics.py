"""The sender's metrics. No address, code or mail id is ever a label."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_DELIVERY_S = (0.1, 0.25, 0.5, 1, 1.5, 2, 3, 5, 7.5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600)
_STAGE_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)


class SenderMetrics:
    """The engine's metrics in one registry; ``topic`` is the MailTopic's main topic."""

    def __init__(self, registry: CollectorRegistry, topic: str) -> None:
        self.topic = topic
        self._mails = Counter(
            "mailtopic_mails",
            "Recorded outcomes.",
            ("topic", "relay", "outcome"),
            registry=registry,
        )
        self.delivery_seconds = Histogram(
            "mailtopic_delivery_seconds",
            "From acceptance by the API to the relay's 250.",
            ("topic",),
            buckets=_DELIVERY_S,
            registry=registry,
        ).labels(topic)
        self._stage_seconds = Histogram(
            "mailtopic_stage_seconds",
            "Where an attempt's time goes.",
            ("stage",),
            buckets=_STAGE_S,
            registry=registry,
        )
        self.lag_seconds = Gauge(
            "mailtopic_lag_seconds",
            "Age of the oldest record without a recorded outcome, read or not.",
            ("topic", "partition"),
            registry=registry,
        )
        self.watermark_age_seconds = Gauge(
            "mailtopic_watermark_age_seconds",
            "For how long the oldest record without a recorded outcome has been the same one.",
            ("topic", "partition"),
            registry=registry,
        )
        self.window_offsets = Gauge(
            "mailtopic_window_offsets",
            "From the oldest record without a recorded outcome to the newest that was read.",
            ("topic", "partition"),
            registry=registry,
        )
        self.of_partitions = (self.lag_seconds, self.watermark_age_seconds, self.window_offsets)
        self.in_flight = Gauge(
            "mailtopic_in_flight", "Mails that are being delivered.", registry=registry
        )
        self.held_records = Gauge(
            "mailtopic_held_records",
            "Records in memory that wait for a lane or for their time.",
            ("consumer",),
            registry=registry,
        )
        self._dead_letters = Counter(
            "mailtopic_dead_letters",
            "Records written to the DLQ.",
            ("reason",),
            registry=registry,
        )
        self.dlq_flood_open = Gauge(
            "mailtopic_dlq_flood_open",
            "1 while so many mails die that intake stops instead of filling the DLQ.",
            registry=registry,
        )
        self.replays_skipped = Counter(
            "mailtopic_replays_skipped",
            "Records that came again and were already done.",
            ("source",),
            registry=registry,
        )
        self.stale_completions = Counter(
            "mailtopic_stale_completions",
            "Records completed after their partition had been revoked.",
            registry=registry,
        )
        self.commits_failed = Counter(
            "mailtopic_commits_failed",
            "Commits that the broker refused or did not answer.",
            registry=registry,
        )
        self.drain_timeouts = Counter(
            "mailtopic_drain_timeouts",
            "Revocations at which mails were still on their way after the drain timeout.",
            registry=registry,
        )
        self.rebalances = Counter(
            "mailtopic_rebalances", "Assignments received.", ("consumer",), registry=registry
        )

    def outcome(self, outcome: str, relay: str | None) -> None:
        """Count a recorded outcome."""
        self._mails.labels(self.topic, relay or "", outcome).inc()

    def stage(self, stage: str, seconds: float) -> None:
        """Observe one stage of an attempt: queue, wait, connect or transmit."""
        self._stage_seconds.labels(stage).observe(max(seconds, 0.0))

    def dead_letter(self, reason: str) -> None:
        """Count a record written to the DLQ."""
        self._dead_letters.labels(reason).inc()
