"""The sender's metrics, declared. No address, code or mail id is ever a label.

One process serves one MailTopic, whose main topic is the label ``topic`` of nearly all of them.
What happens for every mail is counted in the event loop's thread only.
"""

from typing import Final

from mailtopic_contract import Outcome
from mailtopic_runtime import Family, Kind, Label
from mailtopic_sender.domain.replies import ReplyClass

DEAD_REASONS: Final = (
    "empty",
    "too-large",
    "bad-json",
    "unknown-version",
    "bad-field",
    "bad-address",
    "bad-header",
    "bad-record",
    "bad-batch",
    "sealing",
    "template",
    "bug",
    "protocol",
    "reputation",
    "unknown",
)
"""The reasons for writing a record to the DLQ: RecordError's, ours, and those of replies."""

TOPIC: Final = Label("topic", words="the MailTopic's main topic")
RELAY: Final = Label("relay", words="name of a relay; empty where none was involved")
_CONSUMED: Final = Label("topic", words="the topic that is consumed: main or retry")
_PARTITION: Final = Label("partition", words="number of an owned partition")
_CONSUMER: Final = Label("consumer", ("main", "retry"))

MAILS: Final = Family(
    name="mailtopic_mails_total",
    kind=Kind.COUNTER,
    help="Recorded outcomes.",
    use="How much goes out, by which relay, and what becomes of the rest.",
    labels=(TOPIC, RELAY, Label("outcome", tuple(Outcome))),
    one_writer=True,
)
DELIVERY_SECONDS: Final = Family(
    name="mailtopic_delivery_seconds",
    kind=Kind.HISTOGRAM,
    help="From acceptance by the API to the relay's 250.",
    use="The delivery SLO; 10 s and 30 s are bounds of buckets.",
    labels=(TOPIC,),
    buckets=(0.1, 0.25, 0.5, 1, 1.5, 2, 3, 5, 7.5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600),
    one_writer=True,
)
LAST_DELIVERY: Final = Family(
    name="mailtopic_last_delivery_timestamp_seconds",
    kind=Kind.GAUGE,
    help="When a relay last took a mail from this process, epoch seconds; 0: none yet.",
    use="Whether anything has gone out lately: time() minus it.",
    labels=(TOPIC,),
)
STAGE_SECONDS: Final = Family(
    name="mailtopic_stage_seconds",
    kind=Kind.HISTOGRAM,
    help="Where an attempt's time goes.",
    use="Which part of the way is slow: Kafka (queue), this process (wait) or the relay.",
    labels=(TOPIC, Label("stage", ("queue", "wait", "connect", "transmit"))),
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800),
    one_writer=True,
)
LAG_SECONDS: Final = Family(
    name="mailtopic_lag_seconds",
    kind=Kind.GAUGE,
    help="Age of the oldest record without a recorded outcome, read or not.",
    use="Whether senders keep up, and how many are needed. A retry topic's holds its delay.",
    labels=(_CONSUMED, _PARTITION),
)
WATERMARK_AGE_SECONDS: Final = Family(
    name="mailtopic_watermark_age_seconds",
    kind=Kind.GAUGE,
    help="For how long the oldest record without a recorded outcome has been the same one.",
    use="Whether one mail holds a partition's commits back.",
    labels=(_CONSUMED, _PARTITION),
)
WINDOW_OFFSETS: Final = Family(
    name="mailtopic_window_offsets",
    kind=Kind.GAUGE,
    help="From the oldest record without a recorded outcome to the newest that was read.",
    use="How near a partition is to the window's end, where intake pauses.",
    labels=(_CONSUMED, _PARTITION),
)
IN_FLIGHT: Final = Family(
    name="mailtopic_in_flight",
    kind=Kind.GAUGE,
    help="Mails that are being delivered.",
    use="How busy a sender is; its bound is MAILTOPIC_DELIVERY__MAX_IN_FLIGHT.",
    labels=(TOPIC,),
)
HELD_RECORDS: Final = Family(
    name="mailtopic_held_records",
    kind=Kind.GAUGE,
    help="Records in memory that wait for a lane or for their time.",
    use="What a sender holds beyond what it is delivering.",
    labels=(TOPIC, _CONSUMER),
)
PARKED_RECORDS: Final = Family(
    name="mailtopic_parked_records",
    kind=Kind.GAUGE,
    help="Records that stay in their partition because the DLQ takes nothing.",
    use="Whether the DLQ must be repaired, and how much room is left until partitions pause.",
    labels=(TOPIC, _CONSUMER),
)
DEAD_LETTERS: Final = Family(
    name="mailtopic_dead_letters_total",
    kind=Kind.COUNTER,
    help="Records written to the DLQ.",
    use="Whether somebody must look at the DLQ, and for what.",
    labels=(TOPIC, Label("reason", DEAD_REASONS)),
)
DLQ_FLOOD_OPEN: Final = Family(
    name="mailtopic_dlq_flood_open",
    kind=Kind.GAUGE,
    help="1 while so many mails die that intake stops instead of filling the DLQ.",
    use="A wrong key, template or release: mails wait until it is mended.",
    labels=(TOPIC,),
)
REFUSED_ALIKE: Final = Family(
    name="mailtopic_refused_alike",
    kind=Kind.GAUGE,
    help="1 while mails wait because relays refuse them all in the same words.",
    use="A from address, domain, plan or host that a relay doesn't take: an operator mends it.",
    labels=(TOPIC,),
)
REPLAYS_SKIPPED: Final = Family(
    name="mailtopic_replays_skipped_total",
    kind=Kind.COUNTER,
    help="Records that came again and were already done.",
    use="Second copies that were not sent, after a restart or a rebalance.",
    labels=(TOPIC, Label("source", ("metadata", "ledger"))),
)
TIMES_IN_SECONDS: Final = Family(
    name="mailtopic_record_times_in_seconds_total",
    kind=Kind.COUNTER,
    help="Records whose time is in seconds instead of milliseconds.",
    use="A producer to mend: Kafka's retention deletes its records as if they were from 1970.",
    labels=(TOPIC,),
)
RECORDS_GONE: Final = Family(
    name="mailtopic_records_gone_total",
    kind=Kind.COUNTER,
    help="Offsets that retention deleted before they were read.",
    use="Mails that can never be sent any more: retention is too short for an outage that long.",
    labels=(TOPIC,),
)
STALE_COMPLETIONS: Final = Family(
    name="mailtopic_stale_completions_total",
    kind=Kind.COUNTER,
    help="Records completed after their partition had been revoked.",
    use="Whether drains are too short for the relay.",
    labels=(TOPIC,),
)
COMMITS_FAILED: Final = Family(
    name="mailtopic_commits_failed_total",
    kind=Kind.COUNTER,
    help="Commits that the broker refused or did not answer.",
    use="Trouble between a sender and Kafka.",
    labels=(TOPIC,),
)
DRAIN_TIMEOUTS: Final = Family(
    name="mailtopic_drain_timeouts_total",
    kind=Kind.COUNTER,
    help="Revocations at which mails were still on their way after the drain timeout.",
    use="Rebalances that may cause second copies.",
    labels=(TOPIC,),
)
STATUS_RECORDS_SKIPPED: Final = Family(
    name="mailtopic_status_records_skipped_total",
    kind=Kind.COUNTER,
    help="Records of the status topic that are no outcomes.",
    use="Whether something else writes to the status topic.",
    labels=(TOPIC,),
)
REBALANCES: Final = Family(
    name="mailtopic_rebalances_total",
    kind=Kind.COUNTER,
    help="Assignments received.",
    use="A group that never comes to rest.",
    labels=(TOPIC, _CONSUMER),
)
CONNECTIONS: Final = Family(
    name="mailtopic_connections",
    kind=Kind.GAUGE,
    help="Open connections.",
    use="How much of the relay's allowance is used.",
    labels=(TOPIC, RELAY, Label("state", ("busy", "idle"))),
)
CONNECTIONS_LIMIT: Final = Family(
    name="mailtopic_connections_limit",
    kind=Kind.GAUGE,
    help="Connections that may be used now: as configured, or fewer as learned.",
    use="Falls when the relay wants fewer, and grows back.",
    labels=(TOPIC, RELAY),
)
BREAKER_OPEN: Final = Family(
    name="mailtopic_breaker_open",
    kind=Kind.GAUGE,
    help="1 while mails are kept away from the relay because it takes none.",
    use="A relay that is away, or refuses the login.",
    labels=(TOPIC, RELAY),
)
RATE_LIMIT: Final = Family(
    name="mailtopic_relay_rate_limit_per_s",
    kind=Kind.GAUGE,
    help="Mails a second that the whole group may hand to the relay; absent without a limit.",
    use="How near the send rate is to the quota.",
    labels=(TOPIC, RELAY),
)
LEARNED_RATE: Final = Family(
    name="mailtopic_relay_learned_mails_per_second",
    kind=Kind.GAUGE,
    help="Mails a second that the relay was found to take from this process; absent if no limit.",
    use="What a relay allows that names no limit; summed, what the senders get out of it.",
    labels=(TOPIC, RELAY),
)
LEARNED_CONNECTIONS: Final = Family(
    name="mailtopic_relay_learned_connections",
    kind=Kind.GAUGE,
    help="Connections that the relay was found to allow this process; absent if no limit.",
    use="Whether the relay or max_connections bounds them; summed, what the account is allowed.",
    labels=(TOPIC, RELAY),
)
LEARNED_MAILS: Final = Family(
    name="mailtopic_relay_learned_mails_per_connection",
    kind=Kind.GAUGE,
    help="Mails that the relay was found to take on one connection; absent if no limit.",
    use="Whether connections are closed by the relay or by us.",
    labels=(TOPIC, RELAY),
)
RELAY_WAITING: Final = Family(
    name="mailtopic_relay_waiting_mails",
    kind=Kind.GAUGE,
    help="Mails that wait in this process for their turn at the relay.",
    use="Whether the relay's pace is what mails wait for.",
    labels=(TOPIC, RELAY),
)
SMTP_REPLIES: Final = Family(
    name="mailtopic_smtp_replies_total",
    kind=Kind.COUNTER,
    help="What relays answered, to mails and to attempts to open a session, by reply class.",
    use="Whose fault it is: throttled, auth, policy and quota are the account's or the relay's.",
    labels=(TOPIC, RELAY, Label("class", tuple(ReplyClass))),
)

FAMILIES: Final = (
    MAILS,
    DELIVERY_SECONDS,
    LAST_DELIVERY,
    STAGE_SECONDS,
    LAG_SECONDS,
    WATERMARK_AGE_SECONDS,
    WINDOW_OFFSETS,
    IN_FLIGHT,
    HELD_RECORDS,
    PARKED_RECORDS,
    DEAD_LETTERS,
    DLQ_FLOOD_OPEN,
    REFUSED_ALIKE,
    REPLAYS_SKIPPED,
    TIMES_IN_SECONDS,
    RECORDS_GONE,
    STALE_COMPLETIONS,
    COMMITS_FAILED,
    DRAIN_TIMEOUTS,
    STATUS_RECORDS_SKIPPED,
    REBALANCES,
    SMTP_REPLIES,
    CONNECTIONS,
    CONNECTIONS_LIMIT,
    BREAKER_OPEN,
    RATE_LIMIT,
    LEARNED_RATE,
    LEARNED_CONNECTIONS,
    LEARNED_MAILS,
    RELAY_WAITING,
)
"""All families."""
