"""The operator: whether MailTopics are ready, and what it does about them."""

from typing import Final

from mailtopic_observability.dashboards.colors import BAD, EXPECTED, GOOD, WAITS, at_most
from mailtopic_observability.dashboards.frame import Board, Choice
from mailtopic_observability.dashboards.panels import About, Query, Row, lines, number, states
from mailtopic_observability.dashboards.queries import (
    NAMESPACE,
    mean,
    or_zero,
    parts,
    quantile,
    rate,
)

_P = "mailtopic_operator"
_CONDITIONS = f"{_P}_mailtopics"

_READY = f'{NAMESPACE},condition="Ready"'
_NOW: Final = Row(
    "Now",
    (
        number(
            About(
                "Ready MailTopics",
                "short",
                "MailTopics whose condition Ready is True.",
                ("MailTopicNotReady",),
            ),
            Query(or_zero(f'max({_CONDITIONS}{{{_READY},status="True"}})')),
        ),
        number(
            About(
                "Not ready",
                "short",
                "MailTopics whose condition Ready is False or Unknown; `kubectl get "
                "mailtopics` names them and says why.",
                ("MailTopicNotReady",),
            ),
            Query(or_zero(f'sum({_CONDITIONS}{{{_READY},status!="True"}})')),
            steps=at_most(worse=1, bad=2),
        ),
        number(
            About(
                "Leader",
                "short",
                "Replicas that hold the lease, and so act: 1.",
                ("MailTopicOperatorNoLeader",),
            ),
            Query(or_zero(f"sum({_P}_is_leader{{{NAMESPACE}}})")),
            steps=EXPECTED,
        ),
        number(
            About(
                "Waiting",
                "suffix:resources",
                "Resources that wait to be reconciled.",
                ("MailTopicOperatorErrors",),
            ),
            Query(or_zero(f"max({_P}_queue_depth{{{NAMESPACE}}})")),
            steps=at_most(worse=50, bad=500),
        ),
        number(
            About(
                "Stalest watch",
                "s",
                "Since the quietest watch brought an event or a bookmark; the API server sends "
                "a bookmark about every minute.",
                ("MailTopicOperatorWatchStale",),
            ),
            Query(or_zero(f"max({_P}_watch_age_seconds{{{NAMESPACE}}})")),
            steps=at_most(worse=180, bad=600),
            decimals=0,
        ),
        number(
            About("Kafka topics", "short", "Topics of the MailTopics that are managed."),
            Query(or_zero(f"max({_P}_managed_topics{{{NAMESPACE}}})")),
        ),
    ),
)

_TOPICS: Final = Row(
    "MailTopics",
    (
        lines(
            About(
                "Ready",
                "suffix:resources",
                "MailTopics by the status of their condition Ready.",
                ("MailTopicNotReady",),
            ),
            Query(
                f'max by (status) ({_CONDITIONS}{{{NAMESPACE},condition="Ready"}})',
                "{{status}}",
            ),
            stacked=True,
            colors={"True": GOOD, "False": BAD, "Unknown": WAITS},
            width=8,
        ),
        lines(
            About(
                "Hand edits put back",
                "suffix:/s",
                "Changes by others to what the operator owns, by where. A steady "
                "rate: two fight over it.",
            ),
            Query(
                parts(f"{_P}_drift_corrections_total", NAMESPACE, "where"),
                "{{where}}",
            ),
            stacked=True,
            as_bars=True,
            width=8,
        ),
        states(
            About(
                "Leader",
                "short",
                "The replica that acts.",
                ("MailTopicOperatorNoLeader",),
            ),
            Query(f"max by (pod) ({_P}_is_leader{{{NAMESPACE}}})", "{{pod}}"),
            texts={"0": ("stands by", "light-blue"), "1": ("leads", GOOD)},
            width=8,
        ),
    ),
)

_WORK: Final = Row(
    "Work",
    (
        lines(
            About(
                "Reconciled",
                "suffix:/s",
                "Resources by what became of them. Failed ones are tried again, later each time.",
                ("MailTopicOperatorErrors",),
            ),
            Query(rate(f"{_P}_reconciles_total", NAMESPACE, "result"), "{{result}}"),
            stacked=True,
            colors={"unchanged": "light-blue", "changed": GOOD, "failed": BAD},
            width=8,
        ),
        lines(
            About(
                "Time of a batch",
                "s",
                "From a batch's start to its last status.",
            ),
            *(
                Query(quantile(share, f"{_P}_reconcile_seconds", NAMESPACE), name)
                for share, name in ((0.5, "p50"), (0.99, "p99"))
            ),
            width=8,
        ),
        lines(
            About(
                "Batch and queue",
                "suffix:resources",
                "Resources reconciled together, in the mean, and those that wait.",
            ),
            Query(mean(f"{_P}_batch_size", NAMESPACE), "batch"),
            Query(f"max({_P}_queue_depth{{{NAMESPACE}}})", "waiting"),
            width=8,
        ),
    ),
)

_CALLS: Final = Row(
    "Calls",
    (
        lines(
            About(
                "Actions",
                "suffix:/s",
                "What was done to Kafka and Kubernetes, by kind and result.",
            ),
            Query(
                parts(f"{_P}_actions_total", NAMESPACE, "action, result"),
                "{{action}} {{result}}",
            ),
            stacked=True,
            as_bars=True,
            width=8,
        ),
        lines(
            About(
                "Kubernetes API",
                "suffix:requests/s",
                "Requests by method and status. none: no answer.",
            ),
            Query(rate(f"{_P}_api_requests_total", NAMESPACE, "verb, code"), "{{verb}} {{code}}"),
            stacked=True,
            width=8,
        ),
        lines(
            About(
                "Kafka's admin API",
                "suffix:requests/s",
                "Requests by operation and result.",
            ),
            Query(
                parts(f"{_P}_admin_requests_total", NAMESPACE, "operation, result"),
                "{{operation}} {{result}}",
            ),
            stacked=True,
            as_bars=True,
            width=8,
        ),
    ),
)

BOARD: Final = Board(
    name="operator",
    title="MailTopic / Operator",
    description="Are MailTopics as they should be, and what does the operator do about it?",
    choices=(Choice("namespace", f"{_P}_is_leader"),),
    rows=(_NOW, _TOPICS, _WORK, _CALLS),
)
