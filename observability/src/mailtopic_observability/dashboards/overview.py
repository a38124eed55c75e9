"""The overview: are mails going out, how fast, how late, what fails?"""

from typing import Final

from mailtopic_observability.dashboards import shared, slo
from mailtopic_observability.dashboards.colors import (
    BAD,
    EXPECTED,
    NEVER,
    OUTCOMES,
    QUANTILES,
    REPLIES,
    at_least,
    at_most,
)
from mailtopic_observability.dashboards.frame import Board, Choice, link_to
from mailtopic_observability.dashboards.panels import (
    About,
    Column,
    Query,
    Row,
    lines,
    number,
    rows,
)
from mailtopic_observability.dashboards.queries import (
    MAIN,
    NAMESPACE,
    TOPIC,
    increase,
    or_none,
    or_zero,
    parts,
    quantile,
    quantiles,
    rate,
)
from mailtopic_observability.runbooks import RUNBOOKS_URL

_ACCEPTED = f'{TOPIC},outcome="accepted"'

_NOW: Final = Row(
    "Now",
    (
        number(
            About(
                "Delivered",
                "suffix:mails/s",
                "Mails that a relay took, in a second. 0 is fine only while nothing waits.",
                ("MailTopicStalled",),
            ),
            Query(or_zero(rate("mailtopic_mails_total", _ACCEPTED))),
            decimals=1,
        ),
        number(
            About(
                "Delivery time, p99",
                "s",
                "From the API's 202 to the relay's 250; one mail in a hundred takes longer.",
                ("MailTopicDeliverySLOFastBurn",),
            ),
            Query(quantile(0.99, "mailtopic_delivery_seconds", TOPIC)),
            steps=at_most(worse=10, bad=30),
            decimals=1,
        ),
        number(
            About(
                "Lag",
                "s",
                "Age of the oldest mail without an outcome, read or not. Grows by one second a "
                "second while nothing moves; mails that wait for a retry are not in it.",
                ("MailTopicLagHigh", "MailTopicStalled"),
            ),
            Query(or_zero(f"max(mailtopic_lag_seconds{{{MAIN}}})")),
            steps=at_most(worse=10, bad=30),
            decimals=1,
        ),
        number(
            About(
                "Error budget left",
                "percentunit",
                "Of the mails that may be late in 30 days, the share that is left, of the "
                "topic with the least. Below 0 the promise is broken.",
                ("MailTopicDeliverySLOFastBurn", "MailTopicDeliverySLOSlowBurn"),
            ),
            Query(slo.LEAST_LEFT),
            steps=at_least(worse=0, good=0.25),
            decimals=1,
        ),
        number(
            About(
                "Dead letters",
                "short",
                "Records put into the DLQ in all that is shown: no mail could be made of "
                "them. Each may be one that a person waits for.",
                ("MailTopicDeadLettersGrowing",),
            ),
            Query(or_zero(increase("mailtopic_dead_letters_total", TOPIC)), at_end=True),
            steps=NEVER,
            decimals=0,
        ),
        number(
            About(
                "Senders",
                "short",
                "Sender processes that answer Prometheus.",
                ("MailTopicNoSender",),
            ),
            Query(or_zero(f'count(mailtopic_build_info{{{NAMESPACE},component="sender"}})')),
            steps=EXPECTED,
        ),
    ),
)

_SENDING: Final = Row(
    "Sending",
    (
        lines(
            About(
                "Outcomes",
                "suffix:mails/s",
                "What became of mails. Deferred ones come again; every other outcome is final.",
            ),
            Query(parts("mailtopic_mails_total", TOPIC, "outcome"), "{{outcome}}"),
            stacked=True,
            as_bars=True,
            colors=OUTCOMES,
        ),
        lines(
            About(
                "Delivery time",
                "s",
                "From the API's 202 to the relay's 250, of delivered mails. The dashed line is "
                "what is promised. No line: nothing was delivered.",
                ("MailTopicDeliverySLOFastBurn",),
            ),
            *(
                Query(quantile(share, "mailtopic_delivery_seconds", TOPIC), name)
                for share, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
            ),
            slo.OBJECTIVE,
            colors=QUANTILES,
            dashed=("objective",),
        ),
    ),
)

_BURNS = ("MailTopicDeliverySLOFastBurn", "MailTopicDeliverySLOSlowBurn")
_PROMISE: Final = Row(
    "The promise",
    (
        lines(
            About(
                "Burn rate",
                "suffix:×",
                "How many times too fast the error budget is used up, over windows of 1 h, "
                "6 h and 3 d. 1 would just use it up in 30 days; at 14.4 it is gone in two.",
                _BURNS,
            ),
            *(slo.burn(window) for window in ("1h", "6h", "3d")),
            steps=slo.BURN_STEPS,
        ),
        lines(
            About(
                "Error budget left by topic",
                "percentunit",
                "The share of 30 days' budget of late mails that each topic has left.",
                _BURNS,
            ),
            Query(slo.LEFT, "{{namespace}} {{topic}}"),
            most=1,
        ),
    ),
)

_BY = "namespace, topic"
_COLUMNS = (
    Column(
        "Delivered",
        Query(rate("mailtopic_mails_total", _ACCEPTED, _BY)),
        "suffix:mails/s",
    ),
    Column(
        "p95",
        Query(quantiles(0.95, "mailtopic_delivery_seconds", TOPIC, _BY, over="$__range")),
        "s",
        at_most(worse=10, bad=30),
    ),
    Column(
        "Lag",
        Query(f"max by ({_BY}) (mailtopic_lag_seconds{{{MAIN}}})"),
        "s",
        at_most(worse=10, bad=30),
    ),
    Column("In flight", Query(f"sum by ({_BY}) (mailtopic_in_flight{{{TOPIC}}})"), "short"),
    Column(
        "Bounced",
        Query(increase("mailtopic_mails_total", f'{TOPIC},outcome="bounced"', _BY)),
        "short",
    ),
    Column(
        "Dead",
        Query(increase("mailtopic_dead_letters_total", TOPIC, _BY)),
        "short",
        NEVER,
    ),
)
_TOPICS: Final = Row(
    "Topics",
    (
        rows(
            About(
                "Topics",
                "short",
                "One line for each topic; p95, bounced and dead are those of all that is shown. "
                "A click on its name leads to its dashboard.",
            ),
            *_COLUMNS,
            labels={"topic": "Topic", "namespace": "Namespace"},
            link=(
                "Open the topic's dashboard",
                link_to(
                    "topic",
                    namespace="${__data.fields.Namespace}",
                    topic="${__data.fields.Topic}",
                ),
            ),
            width=16,
            height=6,
        ),
        rows(
            About(
                "Alerts",
                "short",
                "Alerts of MailTopic and Kafka, pending or firing; a click leads to the runbook.",
            ),
            Column(
                "Count",
                Query(
                    or_none(
                        "count by (alertname, alertstate)"
                        ' (ALERTS{alertname=~"MailTopic.*|Kafka.*"})',
                        "alertname",
                    )
                ),
            ),
            labels={"alertname": "Alert", "alertstate": "State"},
            link=("Open the runbook", f"{RUNBOOKS_URL}/${{__data.fields.Alert}}.md"),
            width=8,
            height=6,
        ),
    ),
)

_WAITING: Final = Row(
    "What waits",
    (
        lines(
            About(
                "Lag by topic",
                "s",
                "Age of each topic's oldest mail without an outcome; retry tiers are left out.",
                ("MailTopicLagHigh",),
            ),
            Query(f"max by (namespace, topic) (mailtopic_lag_seconds{{{MAIN}}})", "{{topic}}"),
            slo.LAG_LIMIT,
            width=8,
            dashed=("limit",),
            colors={"limit": BAD},
        ),
        lines(
            About(
                "In flight and held",
                "suffix:mails",
                "Mails on their way to a relay, and records in memory that wait for a lane or "
                "for their time.",
            ),
            Query(f"sum(mailtopic_in_flight{{{TOPIC}}})", "in flight"),
            Query(f"sum(mailtopic_held_records{{{TOPIC}}})", "held"),
            width=8,
        ),
        lines(
            About(
                "Outbox",
                "s",
                "Age of the oldest mail that signup has not yet got into Kafka.",
                ("MailTopicOutboxOld",),
            ),
            Query(or_zero(f"max(mailtopic_outbox_oldest_seconds{{{NAMESPACE}}})"), "oldest"),
            width=8,
            steps=at_most(worse=10, bad=60),
        ),
    ),
)

_REFUSALS = f'{TOPIC},class!="accepted"'
_FAILING: Final = Row(
    "What fails",
    (
        lines(
            About(
                "Replies that were no 250",
                "suffix:replies/s",
                "What relays answered instead, by class. throttled, quota, auth, policy and "
                "transport blame the relay or its account, hard_bounce the address.",
                ("MailTopicRelayRefusing", "MailTopicRelayThrottling"),
            ),
            Query(
                parts("mailtopic_smtp_replies_total", _REFUSALS, "class"),
                "{{class}}",
            ),
            width=8,
            stacked=True,
            as_bars=True,
            colors=REPLIES,
        ),
        shared.dead_letters(),
        lines(
            About(
                "Trouble with Kafka",
                "suffix:/s",
                "Commits that failed, revocations that came before mails were done, records "
                "completed after their partition was gone: they are sent again. And what is lost "
                "or near it: offsets deleted before they were read, record times in seconds.",
                ("MailTopicRecordsGone",),
            ),
            *(
                Query(or_zero(rate(f"mailtopic_{name}_total", TOPIC)), text)
                for name, text in (
                    ("commits_failed", "failed commits"),
                    ("drain_timeouts", "drains cut short"),
                    ("stale_completions", "late completions"),
                    ("records_gone", "deleted unread"),
                    ("record_times_in_seconds", "times in seconds"),
                )
            ),
            width=8,
        ),
    ),
)

BOARD: Final = Board(
    name="overview",
    title="MailTopic / Overview",
    description="Is mail going out, how fast, how late, what fails, and whose fault is it?",
    choices=(
        Choice("namespace", "mailtopic_build_info"),
        Choice("topic", f"mailtopic_mails_total{{{NAMESPACE}}}"),
    ),
    rows=(_NOW, _SENDING, _PROMISE, _TOPICS, _WAITING, _FAILING),
)
