"""The relays: their replies, the rates they allow, and the state of their breakers."""

from typing import Final

from mailtopic_observability.dashboards.colors import (
    BAD,
    GOOD,
    NEVER,
    REPLIES,
    WAITS,
    at_least,
    at_most,
)
from mailtopic_observability.dashboards.frame import Board, Choice
from mailtopic_observability.dashboards.panels import (
    About,
    Column,
    Query,
    Row,
    lines,
    number,
    rows,
    states,
)
from mailtopic_observability.dashboards.queries import (
    NAMESPACE,
    RELAY,
    TOPIC,
    increase,
    mean,
    or_none,
    or_zero,
    parts,
    quantile,
    rate,
)

_REPLIES = "mailtopic_smtp_replies_total"
_REFUSED = "hard_bounce|provider_suppressed|content|sender|reputation"
_BY = "topic, relay"
# A group's rate is the same at each sender.
_LIMIT = f"max by ({_BY}) (mailtopic_relay_rate_limit_per_s{{{RELAY}}})"
_USED = f"{rate(_REPLIES, RELAY, _BY)} / {_LIMIT}"

_LEARNED_MAILS = f"min by ({_BY}) (mailtopic_relay_learned_mails_per_connection{{{RELAY}}})"
_TAKEN = f'{RELAY},class="accepted"'
_NOW: Final = Row(
    "Now",
    (
        number(
            About("Taken", "suffix:mails/s", "Mails that relays took, in a second."),
            Query(or_zero(rate(_REPLIES, _TAKEN))),
            decimals=1,
        ),
        number(
            About(
                "Taken of all",
                "percentunit",
                "Of all answers in all that is shown, the share that was a 250.",
                ("MailTopicRelayRefusing",),
            ),
            Query(f"{increase(_REPLIES, _TAKEN)} / {increase(_REPLIES, RELAY)}", at_end=True),
            steps=at_least(worse=0.8, good=0.95),
            decimals=1,
        ),
        number(
            About(
                "Throttled",
                "suffix:replies/s",
                "Answers that meant: too fast. Senders open fewer connections by themselves.",
                ("MailTopicRelayThrottling",),
            ),
            Query(or_zero(rate(_REPLIES, f'{RELAY},class=~"throttled|quota"'))),
            steps=at_most(worse=0.01, bad=1),
            decimals=2,
        ),
        number(
            About(
                "Rate used",
                "percentunit",
                "Of the rate that is configured, the share in use, at the relay with the most. "
                "Near 100 % mails wait for their turn.",
                ("MailTopicRelayRateNearLimit",),
            ),
            Query(or_zero(f"max({_USED})")),
            steps=at_most(worse=0.8, bad=0.95),
            decimals=0,
        ),
        number(
            About(
                "Connections",
                "suffix:open",
                "Open connections to relays, busy or idle.",
            ),
            Query(or_zero(f"sum(mailtopic_connections{{{RELAY}}})")),
        ),
        number(
            About(
                "Kept away from",
                "suffix:breakers",
                "Senders that keep mails away from a relay because it takes none.",
                ("MailTopicNoRelay", "MailTopicRelayBreakerOpen"),
            ),
            Query(or_zero(f"sum(mailtopic_breaker_open{{{RELAY}}})")),
            steps=NEVER,
        ),
    ),
)

_ANSWERS: Final = Row(
    "Answers",
    (
        lines(
            About(
                "Replies by class",
                "suffix:replies/s",
                "What relays answered, by what it means. docs/guides/relays.md has the list.",
                ("MailTopicRelayRefusing",),
            ),
            Query(parts(_REPLIES, RELAY, "class"), "{{class}}"),
            stacked=True,
            as_bars=True,
            colors=REPLIES,
        ),
        rows(
            About(
                "Relays",
                "short",
                "One line for each relay of each topic, over all that is shown.",
            ),
            Column("Taken", Query(increase(_REPLIES, f'{RELAY},class="accepted"', _BY))),
            Column(
                "Later",
                Query(
                    increase(
                        _REPLIES,
                        f'{RELAY},class=~"transient|greylisted|throttled|mailbox_full"',
                        _BY,
                    )
                ),
            ),
            Column(
                "Refused",
                Query(increase(_REPLIES, f'{RELAY},class=~"{_REFUSED}"', _BY)),
            ),
            Column(
                "Out of order",
                Query(
                    increase(
                        _REPLIES,
                        f'{RELAY},class=~"auth|blocked|policy|quota|transport|protocol|closing"',
                        _BY,
                    )
                ),
                "short",
                NEVER,
            ),
            Column(
                "Connections",
                Query(f"sum by ({_BY}) (mailtopic_connections{{{RELAY}}})"),
            ),
            labels={"relay": "Relay", "topic": "Topic"},
            width=12,
        ),
    ),
)

_PACE: Final = Row(
    "Pace",
    (
        lines(
            About(
                "Rate and limit",
                "suffix:mails/s",
                "Transactions with each relay, and (dashed) the rate that is configured for "
                "the whole group of senders, and the one that the senders have learned.",
                ("MailTopicRelayRateNearLimit",),
            ),
            Query(rate(_REPLIES, RELAY, _BY), "{{topic}} {{relay}}"),
            Query(or_none(f"max(mailtopic_relay_rate_limit_per_s{{{RELAY}}})", "relay"), "limit"),
            Query(
                or_none(f"sum(mailtopic_relay_learned_mails_per_second{{{RELAY}}})", "relay"),
                "learned",
            ),
            dashed=("limit", "learned"),
            colors={"limit": BAD},
            width=6,
        ),
        lines(
            About(
                "Rate used",
                "percentunit",
                "Of the configured rate, the share in use; 0 where none is configured.",
                ("MailTopicRelayRateNearLimit",),
            ),
            Query(or_none(_USED, "relay", "no limit"), "{{topic}} {{relay}}"),
            steps=at_most(worse=0.8, bad=0.95),
            width=6,
        ),
        lines(
            About(
                "Waiting for their turn",
                "short",
                "Mails that wait for the pace of a relay, and how many mails it was found to take "
                "on one connection.",
            ),
            Query(
                f"sum by ({_BY}) (mailtopic_relay_waiting_mails{{{RELAY}}})",
                "{{topic}} {{relay}} waiting",
            ),
            Query(
                or_none(_LEARNED_MAILS, "relay", "no limit"),
                "{{topic}} {{relay}} on a connection",
            ),
            width=6,
        ),
        lines(
            About(
                "Told to slow down",
                "suffix:replies/s",
                "Throttled, greylisted and quota replies, by relay.",
                ("MailTopicRelayThrottling", "MailTopicRelayQuotaUsedUp"),
            ),
            Query(
                parts(
                    _REPLIES,
                    f'{RELAY},class=~"throttled|greylisted|quota"',
                    "relay, class",
                ),
                "{{relay}} {{class}}",
            ),
            stacked=True,
            as_bars=True,
            width=6,
        ),
    ),
)

_CONNECTIONS: Final = Row(
    "Connections",
    (
        lines(
            About(
                "Connections",
                "suffix:open",
                "Busy and idle connections, and (dashed) how many may be used now, and how many "
                "the relays were found to allow, where that is less than what is configured.",
                ("MailTopicRelayThrottling",),
            ),
            Query(f"sum by (state) (mailtopic_connections{{{RELAY}}})", "{{state}}"),
            Query(f"sum(mailtopic_connections_limit{{{RELAY}}})", "limit"),
            Query(
                or_none(f"sum(mailtopic_relay_learned_connections{{{RELAY}}})", "relay"),
                "learned",
            ),
            stacked=True,
            dashed=("limit", "learned"),
            colors={"busy": GOOD, "idle": "light-blue", "limit": BAD},
            width=8,
        ),
        states(
            About(
                "Breakers",
                "short",
                "Where mails are kept away from a relay, by sender: probing lets single mails "
                "through until one is taken.",
                ("MailTopicNoRelay", "MailTopicRelayBreakerOpen"),
            ),
            Query(
                f"max by (topic, relay, pod) (mailtopic_breaker_open{{{RELAY}}})",
                "{{relay}} {{pod}}",
            ),
            texts={"0": ("closed: mails go out", GOOD), "1": ("open: mails wait", BAD)},
            width=8,
        ),
        lines(
            About(
                "Mean time of an attempt",
                "s",
                "Connecting (with TLS and login) and transmitting. Waiting for a connection "
                "or for the rate is wait.",
            ),
            Query(
                mean(
                    "mailtopic_stage_seconds",
                    f'{TOPIC},stage=~"wait|connect|transmit"',
                    "stage",
                ),
                "{{stage}}",
            ),
            stacked=True,
            width=8,
        ),
    ),
)

_BLAME: Final = Row(
    "Whose fault",
    (
        lines(
            About(
                "The relay's, or our account's",
                "suffix:replies/s",
                "Login or host refused, TLS not trusted, allowance used up, no server there: mails "
                "wait, no attempt is counted.",
                ("MailTopicRelayAuthFailing", "MailTopicRelayQuotaUsedUp"),
            ),
            Query(
                parts(
                    _REPLIES,
                    f'{RELAY},class=~"auth|blocked|policy|quota|transport|closing|protocol"',
                    "class",
                ),
                "{{class}}",
            ),
            stacked=True,
            as_bars=True,
            colors=REPLIES,
            width=8,
        ),
        lines(
            About(
                "The recipient's, or the mail's",
                "suffix:replies/s",
                "No such address, mailbox full, content refused; and sender and reputation: the "
                "relay refuses or distrusts the sender, however well the address is spelt.",
                ("MailTopicRelayRefusing", "MailTopicBouncesHigh", "MailTopicSenderRefused"),
            ),
            Query(
                parts(
                    _REPLIES,
                    f'{RELAY},class=~"mailbox_full|{_REFUSED}"',
                    "class",
                ),
                "{{class}}",
            ),
            stacked=True,
            as_bars=True,
            colors=REPLIES,
            width=8,
        ),
        lines(
            About(
                "Time to transmit, p95",
                "s",
                "From MAIL FROM to the 250. Grows when a relay is overloaded.",
            ),
            Query(
                quantile(0.95, "mailtopic_stage_seconds", f'{TOPIC},stage="transmit"'),
                "transmit",
            ),
            colors={"transmit": WAITS},
            width=8,
        ),
    ),
)

BOARD: Final = Board(
    name="relay",
    title="MailTopic / Relay",
    description="What relays answer, how fast they let us be, and what is left of it.",
    choices=(
        Choice("namespace", "mailtopic_build_info"),
        Choice("topic", f"mailtopic_mails_total{{{NAMESPACE}}}"),
        Choice("relay", f"{_REPLIES}{{{TOPIC}}}"),
    ),
    rows=(_NOW, _ANSWERS, _PACE, _CONNECTIONS, _BLAME),
)
