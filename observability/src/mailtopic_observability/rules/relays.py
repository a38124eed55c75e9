"""The relays' replies, and whether any relay takes mails."""

from typing import Final

from mailtopic_observability.rules.model import Alert, Group, Recording, Rule, Severity

REPLIES: Final = "mailtopic:smtp_replies:rate5m"
USED: Final = "mailtopic:relay_rate:used_ratio"

_BY: Final = "sum by (namespace, topic, relay)"
_TO_NO_MAIL: Final = "auth|blocked|policy|transport|quota"
"""Classes that blame the relay: replies to an attempt to open a session, or equivalent."""


def group() -> Group:
    """Return the rules."""
    return Group("mailtopic-relays", (*_recordings(), *_away(), *_refusing(), *_limits()))


def _recordings() -> tuple[Rule, ...]:
    return (
        Recording(
            REPLIES,
            "sum by (namespace, topic, relay, class) (rate(mailtopic_smtp_replies_total[5m]))",
            "What relays answered, a second.",
        ),
        Recording(
            USED,
            f'{_BY} ({REPLIES}{{class!~"{_TO_NO_MAIL}"}})\n'
            "/ max by (namespace, topic, relay) (mailtopic_relay_rate_limit_per_s)",
            "How much of a relay's configured rate is used; absent where none is configured.",
        ),
    )


def _away() -> tuple[Rule, ...]:
    return (
        Alert(
            name="MailTopicNoRelay",
            expr="min by (namespace, topic) (avg_over_time(mailtopic_breaker_open[2m])) > 0.9",
            hold="1m",
            hold_reason="a relay that restarts is back by then, and mails wait for it",
            severity=Severity.PAGE,
            component="relay",
            summary="No relay takes mails",
            description=(
                "All relays of topic {{ $labels.topic }} are away or refuse every session, for all"
                " senders: nothing is delivered, and mails wait until they expire."
            ),
            expected_when="the only relay is being maintained",
        ),
        Alert(
            name="MailTopicRelayBreakerOpen",
            expr=(
                "avg by (namespace, topic, relay)"
                " (avg_over_time(mailtopic_breaker_open[10m])) > 0.5"
            ),
            hold="5m",
            hold_reason="what is over by then was a restart; the others took the mails",
            severity=Severity.TICKET,
            component="relay",
            summary="A relay is left alone most of the time",
            description=(
                "Relay {{ $labels.relay }} of topic {{ $labels.topic }} was unusable for"
                " {{ $value | humanizePercentage }} of the last 10 minutes; mails go by other"
                " relays, or wait."
            ),
            expected_when="that relay is being maintained",
        ),
        Alert(
            name="MailTopicRelayAuthFailing",
            # A sender only tries again after more than ten minutes, so a rate is useless here.
            expr=(
                f'{_BY} (increase(mailtopic_smtp_replies_total{{class="auth"}}[1h])) > 0\n'
                "and max by (namespace, topic, relay) (mailtopic_breaker_open) > 0"
            ),
            hold="1m",
            hold_reason="a login that is refused once and then taken is over by then",
            severity=Severity.PAGE,
            component="relay",
            summary="A relay refuses the login",
            description=(
                "Relay {{ $labels.relay }} of topic {{ $labels.topic }} refused the login about"
                " {{ $value | humanize }} times within the hour, and isn't used. No mail fails by"
                " it: they wait until they expire, or go by another relay."
            ),
            expected_when="its password is being rotated",
        ),
    )


def _refusing() -> tuple[Rule, ...]:
    return (
        Alert(
            name="MailTopicSenderRefused",
            expr=(
                "max by (namespace, topic) (mailtopic_refused_alike) > 0\n"
                "or sum by (namespace, topic)"
                ' (increase(mailtopic_smtp_replies_total{class=~"sender|blocked"}[10m])) > 1.5'
            ),
            hold="1m",
            hold_reason="a refusal of one mail may be that mail's own; what is ours comes again",
            severity=Severity.PAGE,
            component="relay",
            summary="A relay refuses our address, domain, plan or host",
            description=(
                "The mails of topic {{ $labels.topic }} are refused for a reason that is ours, or"
                " all in the same words. No recipient is marked for it: mails wait until it is"
                " mended or they expire."
            ),
            expected_when="a from address or a domain is being changed",
        ),
        _share(
            name="MailTopicRelayRefusing",
            classes="content|protocol|reputation",
            limit=0.1,
            least=10,
            hold=("5m", "a share of 15 minutes moves slowly anyway"),
            severity=Severity.PAGE,
            summary="A relay refuses mails for good, and not because of their recipients",
            what="of the mails are refused because of us (5xx: distrust, content, protocol)",
            expected_when="a new domain, template or relay is tested",
        ),
        _share(
            name="MailTopicRelayThrottling",
            classes="closing|greylisted|throttled|transient",
            limit=0.2,
            least=10,
            hold=("10m", "senders slow down by themselves, and that takes some minutes"),
            severity=Severity.TICKET,
            summary="A relay puts mails off",
            what="of the answers are 4xx: too fast, try later, or the connection closed",
            expected_when="far more mails are sent than usual, or the relay is new to us",
        ),
        _share(
            name="MailTopicBouncesHigh",
            classes="hard_bounce",
            limit=0.1,
            least=20,
            hold=("15m", "it is about a habit, not about one batch"),
            severity=Severity.TICKET,
            summary="Too many recipients don't exist",
            what=(
                "of the mails are for recipients that don't exist; providers begin to distrust"
                " senders when more than some per cent of their mails bounce"
            ),
            expected_when="an old list of addresses was written to",
            window="1h",
        ),
    )


def _share(
    *,
    name: str,
    classes: str,
    limit: float,
    least: int,
    hold: tuple[str, str],
    severity: Severity,
    summary: str,
    what: str,
    expected_when: str,
    window: str = "15m",
) -> Alert:
    replies = "mailtopic_smtp_replies_total"
    return Alert(
        name=name,
        expr=(
            f'{_BY} (rate({replies}{{class=~"{classes}"}}[{window}]))\n'
            f'/ ({_BY} (rate({replies}{{class!~"{_TO_NO_MAIL}"}}[{window}])) > 0) > {limit}\n'
            f'and {_BY} (increase({replies}{{class=~"{classes}"}}[{window}])) >= {least}'
        ),
        hold=hold[0],
        hold_reason=hold[1],
        severity=severity,
        component="relay",
        summary=summary,
        description=(
            "At relay {{ $labels.relay }} of topic {{ $labels.topic }}"
            f" {{{{ $value | humanizePercentage }}}} {what}."
        ),
        expected_when=expected_when,
    )


def _limits() -> tuple[Rule, ...]:
    return (
        Alert(
            name="MailTopicRelayQuotaUsedUp",
            expr=f'{_BY} (increase(mailtopic_smtp_replies_total{{class="quota"}}[15m])) > 0.5',
            hold="0s",
            hold_reason="an allowance comes back after hours, not after minutes",
            severity=Severity.TICKET,
            component="relay",
            summary="The account's allowance at a relay is used up",
            description=(
                "Relay {{ $labels.relay }} of topic {{ $labels.topic }} says that the account's"
                " allowance is used up. Mails go by another relay, or wait"
                " (then MailTopicNoRelay fires)."
            ),
            expected_when="the day's mails are more than the account may send",
        ),
        Alert(
            name="MailTopicRelayRateNearLimit",
            expr=f"{USED} > 0.9",
            hold="15m",
            hold_reason="a burst may use the whole rate; a quarter of an hour of it is growth",
            severity=Severity.TICKET,
            component="relay",
            summary="A relay's configured rate is nearly used up",
            description=(
                "{{ $value | humanizePercentage }} of the rate configured for relay"
                " {{ $labels.relay }} of topic {{ $labels.topic }} are used: any more mails wait."
            ),
            expected_when="a backlog is being caught up with",
        ),
    )
