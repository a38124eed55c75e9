"""Delivery through Kafka and the senders: lag, standstill, dead letters."""

from typing import Final

from mailtopic_observability.rules.model import Alert, Group, Recording, Rule, Severity
from mailtopic_observability.rules.parameters import LAG_LIMIT, THRESHOLD

LAG: Final = "mailtopic:lag_seconds:max_by_topic"
SENDERS: Final = "mailtopic:senders:count"
DEAD: Final = "mailtopic:dead_letters:increase1h"
GONE: Final = "mailtopic:records_gone:increase1h"

# Records in a retry topic wait on purpose, until they are due.
_RETRY: Final = ".+[.]retry[.][0-9]+[smh]"


def group() -> Group:
    """Return the rules."""
    return Group("mailtopic-delivery", (*_recordings(), *_latencies(), *_alerts()))


def _recordings() -> tuple[Rule, ...]:
    return (
        Recording(
            LAG,
            f'max by (namespace, topic) (mailtopic_lag_seconds{{topic!~"{_RETRY}"}})',
            "Age of the oldest mail on the main topic that has no outcome: what senders are"
            " scaled by.",
        ),
        Recording(
            SENDERS,
            "count by (namespace, topic) (mailtopic_in_flight)",
            "Senders that answer Prometheus.",
        ),
        Recording(
            "mailtopic:mails:rate5m",
            "sum by (namespace, topic, relay, outcome) (rate(mailtopic_mails_total[5m]))",
            "Outcomes a second.",
        ),
        Recording(
            "mailtopic:mails_finished:rate5m",
            'sum by (namespace, topic) (rate(mailtopic_mails_total{outcome!="deferred"}[5m]))',
            "Mails a second that got their last outcome.",
        ),
        Recording(
            DEAD,
            _of_last_hour("mailtopic_dead_letters_total", by="namespace, topic, reason"),
            "Dead letters of the last hour, by reason.",
        ),
        Recording(
            GONE,
            _of_last_hour("mailtopic_records_gone_total", by="namespace, topic"),
            "Offsets that were found deleted, within the last hour, before they were read.",
        ),
    )


def _of_last_hour(counter: str, *, by: str) -> str:
    # A counter that is created with its first event never increases from 0, so the value of a new
    # counter counts in full.
    return (
        f"sum by ({by}) (\n"
        f"  ({counter} unless last_over_time({counter}[6h] offset 1h))\n"
        f"  or increase({counter}[1h])\n"
        ")"
    )


def _latencies() -> tuple[Rule, ...]:
    return tuple(
        Recording(
            f"mailtopic:delivery_seconds:p{percent}_5m",
            f"histogram_quantile({percent / 100}, sum by (namespace, topic, le)"
            " (rate(mailtopic_delivery_seconds_bucket[5m])))",
            f"{percent} % of the mails of 5 minutes took less, from acceptance to the relay's 250.",
        )
        for percent in (50, 95, 99)
    )


def _alerts() -> tuple[Rule, ...]:
    return (*_waiting(), *_dead())


def _waiting() -> tuple[Rule, ...]:
    return (
        Alert(
            name="MailTopicLagHigh",
            expr=f"{LAG} > scalar({LAG_LIMIT})",
            hold="3m",
            hold_reason="a burst that senders catch up with, and a rollout, are over by then",
            severity=Severity.PAGE,
            component="delivery",
            summary="Mails wait too long for a sender",
            description=(
                "The oldest mail of topic {{ $labels.topic }} without an outcome is"
                " {{ $value | humanizeDuration }} old."
            ),
            expected_when="a relay is away (other alerts say so) or far more mails came than usual",
        ),
        Alert(
            name="MailTopicStalled",
            expr=(
                f"{LAG} > scalar({THRESHOLD})\n"
                "unless on (namespace, topic)\n"
                # Mails that only expire, or are replaced by newer ones, are no progress either.
                "(sum by (namespace, topic) (rate(mailtopic_mails_total"
                '{outcome!~"expired|superseded"}[3m])) > 0)'
            ),
            hold="2m",
            hold_reason="with the 3 minutes that the rate looks back, five without any progress",
            severity=Severity.PAGE,
            component="delivery",
            summary="Mails wait and no sender gets anything done",
            description=(
                "For 5 minutes no mail of topic {{ $labels.topic }} got anywhere; the oldest one"
                " has waited for {{ $value | humanizeDuration }}."
            ),
            expected_when="the only relay is away, the login is refused, or Kafka takes no writes",
        ),
        Alert(
            name="MailTopicNoSender",
            expr=(
                f"max_over_time({SENDERS}[6h])\n"
                f"unless on (namespace, topic) {SENDERS}\n"
                # Scaled to zero while nothing arrives is fine, if Kafka's metrics show it; Kafka
                # may be in another namespace.
                "unless on (topic) (sum by (topic) (delta(kafka_log_log_logendoffset[10m])) == 0)"
            ),
            hold="3m",
            hold_reason="a pod that moves to another node is back by then",
            severity=Severity.PAGE,
            component="delivery",
            summary="A topic has no sender",
            description=(
                "No sender of topic {{ $labels.topic }} answers Prometheus; within the last 6 hours"
                " there were {{ $value }}."
            ),
            expected_when=(
                "a MailTopic was deleted or paused, or its senders were scaled to zero and"
                " Kafka's metrics can't tell that nothing arrives"
            ),
        ),
    )


def _dead() -> tuple[Rule, ...]:
    return (
        Alert(
            name="MailTopicDeadLettersGrowing",
            expr=f"{DEAD} > 0.5",
            hold="0s",
            hold_reason="a dead letter doesn't come back to life by waiting",
            severity=Severity.TICKET,
            component="delivery",
            summary="Mails end in the DLQ",
            description=(
                "About {{ $value | humanize }} records of topic {{ $labels.topic }} went to the DLQ"
                " within an hour, reason {{ $labels.reason }}."
            ),
            expected_when="garbage was published by hand",
        ),
        Alert(
            name="MailTopicDlqRefuses",
            expr="sum by (namespace, topic) (mailtopic_parked_records) > 0",
            hold="5m",
            hold_reason="a broker that restarts or elects leaders is back by then",
            severity=Severity.TICKET,
            component="delivery",
            summary="The DLQ takes no records",
            description=(
                "{{ $value | humanize }} records of topic {{ $labels.topic }} wait in their"
                " partitions because its DLQ takes nothing; mails go on until a partition has"
                " 15,384 offsets behind the oldest of them."
            ),
            expected_when="the DLQ is being made again by hand",
        ),
        Alert(
            name="MailTopicRecordsGone",
            expr=f"{GONE} > 0.5",
            hold="0s",
            hold_reason="what Kafka has deleted doesn't come back by waiting",
            severity=Severity.TICKET,
            component="delivery",
            summary="Kafka deleted mails before a sender read them",
            description=(
                "About {{ $value | humanize }} offsets of topic {{ $labels.topic }} were found"
                " deleted within an hour: mails among them are lost."
            ),
            expected_when="records were deleted by hand (kafka-delete-records)",
        ),
        Alert(
            name="MailTopicDeadLetterFlood",
            expr="max by (namespace, topic) (mailtopic_dlq_flood_open) == 1",
            hold="1m",
            hold_reason="one that ends within a minute was a batch, not a state",
            severity=Severity.PAGE,
            component="delivery",
            summary="So many mails die that senders stopped taking new ones",
            description=(
                "A sender of topic {{ $labels.topic }} keeps its mails in Kafka instead of filling"
                " the DLQ: the mails aren't to blame, and nothing is delivered until the cause is"
                " mended."
            ),
            expected_when="a key, a template or a relay was changed a moment ago",
        ),
    )
