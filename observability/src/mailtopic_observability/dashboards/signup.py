"""Signup: how many users request a code, get it, and use it."""

from typing import Final

from mailtopic_observability.dashboards.colors import (
    GOOD,
    QUANTILES,
    RESULTS,
    WAITS,
    WORSE,
    at_least,
    at_most,
)
from mailtopic_observability.dashboards.frame import Board, Choice
from mailtopic_observability.dashboards.panels import About, Query, Row, bars, lines, number
from mailtopic_observability.dashboards.queries import (
    NAMESPACE,
    increase,
    or_zero,
    parts,
    quantile,
    quantiles,
    rate,
)

_ASKED = f'{NAMESPACE},result=~"accepted|resent"'
_VERIFIED = f'{NAMESPACE},result="verified"'
_SENT = f'{NAMESPACE},outcome="accepted"'
_API = f'{NAMESPACE},route=~"/v1/.*"'
_FAILED = f'{_API},status=~"5.."'
_SIGNUPS = "mailtopic_signups_total"
_REQUESTS = "mailtopic_request_seconds_count"

_NOW: Final = Row(
    "Now",
    (
        number(
            About(
                "Codes asked for",
                "suffix:/s",
                "Signups and resends that were accepted.",
                ("MailTopicSignupDown",),
            ),
            Query(or_zero(rate(_SIGNUPS, _ASKED))),
            decimals=1,
        ),
        number(
            About(
                "Verified of asked for",
                "percentunit",
                "Codes that came back, of those asked for in all that is shown. What is usual "
                "depends on the audience; a fall says that mails don't arrive.",
                ("MailTopicDeliverySLOFastBurn",),
            ),
            Query(f"{increase(_SIGNUPS, _VERIFIED)} / {increase(_SIGNUPS, _ASKED)}", at_end=True),
            steps=at_least(worse=0.4, good=0.7),
            decimals=1,
        ),
        number(
            About(
                "Answer time, p99",
                "s",
                "Of the API; a request touches the database, never Kafka or a relay.",
            ),
            Query(quantile(0.99, "mailtopic_request_seconds", _API)),
            steps=at_most(worse=0.25, bad=1),
        ),
        number(
            About(
                "Answers 5xx",
                "suffix:/s",
                "Requests that failed by our fault.",
                ("MailTopicSignupErrors",),
            ),
            Query(or_zero(rate(_REQUESTS, _FAILED))),
            steps=at_most(worse=0.001, bad=0.1),
            decimals=2,
        ),
        number(
            About(
                "In the outbox",
                "suffix:mails",
                "Mails that Kafka has not yet acknowledged.",
                ("MailTopicOutboxOld",),
            ),
            Query(or_zero(f"max(mailtopic_outbox_pending{{{NAMESPACE}}})")),
            steps=at_most(worse=100, bad=10_000),
            decimals=0,
        ),
        number(
            About(
                "Oldest in the outbox",
                "s",
                "Grows while Kafka is away; people get their codes when it is back.",
                ("MailTopicOutboxOld",),
            ),
            Query(or_zero(f"max(mailtopic_outbox_oldest_seconds{{{NAMESPACE}}})")),
            steps=at_most(worse=10, bad=60),
            decimals=1,
        ),
    ),
)

_FUNNEL: Final = Row(
    "From the request to the verified code",
    (
        bars(
            About(
                "Funnel",
                "short",
                "In all that is shown: codes asked for, mails that Kafka has, mails that a "
                "relay took, codes that came back. The first step that is much shorter than "
                "the one above it is where to look.",
            ),
            Query(increase(_SIGNUPS, _ASKED), "asked for", at_end=True),
            Query(increase("mailtopic_outbox_published_total", NAMESPACE), "queued", at_end=True),
            Query(or_zero(increase("mailtopic_mails_total", _SENT)), "delivered", at_end=True),
            Query(increase(_SIGNUPS, _VERIFIED), "verified", at_end=True),
            width=8,
        ),
        lines(
            About(
                "Funnel over time",
                "suffix:/s",
                "The same four steps, in a second. delivered lags behind by the delivery time, "
                "verified by what people need to read a mail.",
            ),
            Query(rate(_SIGNUPS, _ASKED), "asked for"),
            Query(rate("mailtopic_outbox_published_total", NAMESPACE), "queued"),
            Query(or_zero(rate("mailtopic_mails_total", _SENT)), "delivered"),
            Query(rate(_SIGNUPS, _VERIFIED), "verified"),
            colors={
                "asked for": "blue",
                "queued": WAITS,
                "delivered": WORSE,
                "verified": GOOD,
            },
            width=8,
        ),
        lines(
            About(
                "What became of requests",
                "suffix:/s",
                "Signups, resends and verifications by result. Many wrong_code or locked: "
                "codes are guessed. Many cooling: mails come too late, or a robot.",
            ),
            Query(parts(_SIGNUPS, NAMESPACE, "result"), "{{result}}"),
            stacked=True,
            as_bars=True,
            colors=RESULTS,
            width=8,
        ),
    ),
)

_ANSWERS: Final = Row(
    "Answers",
    (
        lines(
            About(
                "Answers by status",
                "suffix:/s",
                "Of the API, by HTTP status.",
                ("MailTopicSignupErrors",),
            ),
            Query(rate(_REQUESTS, _API, "status"), "{{status}}"),
            stacked=True,
            width=8,
        ),
        lines(
            About(
                "Answer time",
                "s",
                "From a request's head to the end of its answer.",
            ),
            *(
                Query(quantile(share, "mailtopic_request_seconds", _API), name)
                for share, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
            ),
            colors=QUANTILES,
            width=8,
        ),
        lines(
            About(
                "Answer time by route, p95",
                "s",
                "Which of the API's routes is slow. A gap: no requests.",
            ),
            Query(
                quantiles(0.95, "mailtopic_request_seconds", _API, "method, route"),
                "{{method}} {{route}}",
            ),
            width=8,
        ),
    ),
)

_OUTBOX: Final = Row(
    "Outbox",
    (
        lines(
            About(
                "Waiting mails",
                "suffix:mails",
                "Mails that are stored with their challenge and not yet in Kafka.",
                ("MailTopicOutboxOld",),
            ),
            Query(f"max(mailtopic_outbox_pending{{{NAMESPACE}}})", "waiting"),
            width=8,
        ),
        lines(
            About(
                "Age of the oldest",
                "s",
                "Below a second while Kafka is there.",
                ("MailTopicOutboxOld",),
            ),
            Query(f"max(mailtopic_outbox_oldest_seconds{{{NAMESPACE}}})", "oldest"),
            steps=at_most(worse=10, bad=60),
            width=8,
        ),
        lines(
            About(
                "Deliveries as signup knows them",
                "suffix:/s",
                "Outcomes of signup's mails as its topic reported them; people see it on the "
                "page. Foreign: records of the status topic that are no outcomes.",
            ),
            Query(
                parts("mailtopic_delivery_states_total", NAMESPACE, "state"),
                "{{state}}",
            ),
            Query(
                f"sum(rate(mailtopic_signup_status_records_skipped_total{{{NAMESPACE}}}"
                "[$__rate_interval]))",
                "foreign",
            ),
            stacked=True,
            as_bars=True,
            width=8,
        ),
    ),
)

BOARD: Final = Board(
    name="signup",
    title="MailTopic / Signup",
    description="How many people that ask for a code get it, and how many use it.",
    choices=(Choice("namespace", "mailtopic_build_info"),),
    rows=(_NOW, _FUNNEL, _ANSWERS, _OUTBOX),
)
