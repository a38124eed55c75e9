"""One topic: where its mails are, and where they spend time."""

from typing import Final

from mailtopic_observability.dashboards import shared, slo
from mailtopic_observability.dashboards.colors import (
    BAD,
    NEVER,
    OUTCOMES,
    QUANTILES,
    at_least,
    at_most,
)
from mailtopic_observability.dashboards.frame import Board, Choice
from mailtopic_observability.dashboards.panels import About, Query, Row, heat, lines, number
from mailtopic_observability.dashboards.queries import (
    CONSUMED,
    FINAL,
    MAIN,
    NAMESPACE,
    TOPIC,
    increase,
    mean,
    or_zero,
    parts,
    quantile,
    rate,
)

_ACCEPTED = f'{TOPIC},outcome="accepted"'

_NOW: Final = Row(
    "Now",
    (
        number(
            About("Delivered", "suffix:mails/s", "Mails that a relay took, in a second."),
            Query(or_zero(rate("mailtopic_mails_total", _ACCEPTED))),
            decimals=1,
        ),
        number(
            About(
                "Delivered of all",
                "percentunit",
                "Of the mails that got a final outcome in all that is shown, the share that a "
                "relay took. Mistyped addresses bounce: below 95 % there is another cause.",
                ("MailTopicRelayRefusing",),
            ),
            Query(
                f"{increase('mailtopic_mails_total', _ACCEPTED)} / "
                f"{increase('mailtopic_mails_total', f'{TOPIC},{FINAL}')}",
                at_end=True,
            ),
            steps=at_least(worse=0.9, good=0.95),
            decimals=1,
        ),
        number(
            About(
                "Delivery time, p95",
                "s",
                "From the API's 202 to the relay's 250; one mail in twenty takes longer.",
                ("MailTopicDeliverySLOFastBurn",),
            ),
            Query(quantile(0.95, "mailtopic_delivery_seconds", TOPIC)),
            steps=at_most(worse=10, bad=30),
            decimals=1,
        ),
        number(
            About(
                "Lag",
                "s",
                "Age of the oldest mail without an outcome.",
                ("MailTopicLagHigh",),
            ),
            Query(or_zero(f"max(mailtopic_lag_seconds{{{MAIN}}})")),
            steps=at_most(worse=10, bad=30),
            decimals=1,
        ),
        number(
            About(
                "Last delivery",
                "s",
                "How long ago a relay took a mail. Says something only together with the lag.",
                ("MailTopicStalled",),
            ),
            Query(
                f"time() - (max(mailtopic_last_delivery_timestamp_seconds{{{TOPIC}}}) > 0)",
            ),
            decimals=0,
        ),
        number(
            About(
                "Intake stopped",
                "short",
                "Senders that stopped reading because so many records die, or are refused in the "
                "same words: the cure is in the runbook, not in more senders.",
                ("MailTopicDeadLetterFlood", "MailTopicSenderRefused"),
            ),
            Query(
                or_zero(
                    f"(sum(mailtopic_dlq_flood_open{{{TOPIC}}})"
                    f" + sum(mailtopic_refused_alike{{{TOPIC}}}))"
                )
            ),
            steps=NEVER,
            texts={"0": "no"},
        ),
    ),
)

_OUTCOMES: Final = Row(
    "Outcomes",
    (
        lines(
            About("Outcomes", "suffix:mails/s", "What became of mails, retries included."),
            Query(parts("mailtopic_mails_total", TOPIC, "outcome"), "{{outcome}}"),
            stacked=True,
            as_bars=True,
            colors=OUTCOMES,
        ),
        lines(
            About(
                "Deliveries by sender",
                "suffix:mails/s",
                "Work by sender. One that does nothing has no partition or is stalled.",
                ("MailTopicStalled",),
            ),
            Query(rate("mailtopic_mails_total", _ACCEPTED, "pod"), "{{pod}}"),
            stacked=True,
        ),
    ),
)

_TIME: Final = Row(
    "Where the time goes",
    (
        lines(
            About(
                "Delivery time",
                "s",
                "From the API's 202 to the relay's 250. The dashed line is what is promised.",
                ("MailTopicDeliverySLOFastBurn",),
            ),
            *(
                Query(quantile(share, "mailtopic_delivery_seconds", TOPIC), name)
                for share, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
            ),
            slo.OBJECTIVE,
            colors=QUANTILES,
            dashed=("objective",),
            width=8,
        ),
        heat(
            About(
                "Delivery times",
                "s",
                "How many mails took how long: two bands are two ways, such as a first try and "
                "a retry.",
            ),
            Query(rate("mailtopic_delivery_seconds_bucket", TOPIC, "le"), "{{le}}"),
            width=8,
        ),
        lines(
            About(
                "Mean time by stage",
                "s",
                "Of an attempt: queue (until a sender took it up), wait (for a lane, a "
                "connection, the relay's rate), connect, transmit. The thickest is the cause.",
                ("MailTopicDeliverySLOFastBurn",),
            ),
            Query(mean("mailtopic_stage_seconds", TOPIC, "stage"), "{{stage}}"),
            width=8,
            stacked=True,
        ),
    ),
)

_BACKLOG: Final = Row(
    "Backlog",
    (
        lines(
            About(
                "Lag by partition",
                "s",
                "Age of the oldest mail without an outcome. One partition alone: a hot key, or "
                "a stuck mail; all of them: too few senders, or a slow relay. In retry topics "
                "mails wait on purpose.",
                ("MailTopicLagHigh",),
            ),
            Query(
                f"max by (topic, partition) (mailtopic_lag_seconds{{{CONSUMED}}})",
                "{{topic}} {{partition}}",
            ),
            slo.LAG_LIMIT,
            dashed=("limit",),
            colors={"limit": BAD},
            width=8,
        ),
        lines(
            About(
                "Oldest mail stays the same for",
                "s",
                "How long the oldest mail without an outcome has been the same one. A mail "
                "takes no longer than its attempt's time limits: more means a stall.",
                ("MailTopicStalled",),
            ),
            Query(
                f"max by (topic, partition) (mailtopic_watermark_age_seconds{{{CONSUMED}}})",
                "{{topic}} {{partition}}",
            ),
            steps=at_most(worse=30, bad=120),
            width=8,
        ),
        lines(
            About(
                "In memory",
                "suffix:mails",
                "In flight: on their way to a relay. Held: wait for a lane or for their time. "
                "Window: from the oldest without an outcome to the newest read. Parked: left in "
                "their partition while the DLQ takes nothing.",
                ("MailTopicDlqRefuses",),
            ),
            Query(f"sum(mailtopic_in_flight{{{TOPIC}}})", "in flight"),
            Query(f"sum(mailtopic_held_records{{{TOPIC}}})", "held"),
            Query(f"sum(mailtopic_window_offsets{{{CONSUMED}}})", "window"),
            Query(f"sum(mailtopic_parked_records{{{CONSUMED}}})", "parked"),
            width=8,
        ),
    ),
)

_TROUBLE: Final = Row(
    "Trouble",
    (
        shared.dead_letters(),
        lines(
            About(
                "Rebalances",
                "suffix:/s",
                "Assignments that senders received. A few at a rollout; a steady rate means "
                "that senders are thrown out of the group.",
            ),
            Query(
                parts("mailtopic_rebalances_total", TOPIC, "consumer"),
                "{{consumer}}",
            ),
            stacked=True,
            as_bars=True,
            width=8,
        ),
        lines(
            About(
                "Done twice, or nearly",
                "suffix:/s",
                "Records that came again and were already done (skipped), completed after "
                "their partition was gone, commits that failed, drains cut short; records of the "
                "status topic that are no outcomes.",
            ),
            *(
                Query(or_zero(rate(f"mailtopic_{name}_total", TOPIC)), text)
                for name, text in (
                    ("replays_skipped", "skipped"),
                    ("stale_completions", "late completions"),
                    ("commits_failed", "failed commits"),
                    ("drain_timeouts", "drains cut short"),
                    ("status_records_skipped", "foreign status records"),
                )
            ),
            width=8,
        ),
    ),
)

BOARD: Final = Board(
    name="topic",
    title="MailTopic / Topic",
    description="One topic: what became of its mails, how long it took, and what waits.",
    choices=(
        Choice("namespace", "mailtopic_build_info"),
        Choice("topic", f"mailtopic_mails_total{{{NAMESPACE}}}"),
    ),
    rows=(_NOW, _OUTCOMES, _TIME, _BACKLOG, _TROUBLE),
)
