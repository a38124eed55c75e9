"""All conditions of a MailTopic."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from mailtopic_operator.domain import conditions as kinds
from mailtopic_operator.domain.actions import USER_ACTIONS, Action
from mailtopic_operator.domain.border import obstacle
from mailtopic_operator.domain.credentials import judge_credentials
from mailtopic_operator.domain.desired import Desired
from mailtopic_operator.domain.findings import Finding, good, listing, pending
from mailtopic_operator.domain.observed import Observed
from mailtopic_operator.domain.relay_paces import in_words, relay_statuses
from mailtopic_operator.domain.senders import judge_senders
from mailtopic_operator.domain.topic_findings import judge_topics
from mailtopic_operator.domain.user_findings import judge_user


def judge(
    desired: Desired, observed: Observed, due: Sequence[Action], now: datetime
) -> Mapping[str, Finding]:
    """Return the findings by condition type, in the order in which they are shown."""
    topics = obstacle(desired, observed)
    if topics is not None:
        senders = pending("WaitingForTopics", "senders start, and change, once the topics are ours")
    else:
        others = [action for action in due if not isinstance(action, USER_ACTIONS)]
        topics = judge_topics(desired, observed, others, now)
        senders = judge_senders(desired, observed, others, now)
    user = None if desired.kafka_user is None else judge_user(desired, observed, due)
    parts = {
        kinds.TOPICS: topics,
        # Before the senders, which wait for it: report the cause, not its consequence.
        kinds.CREDENTIALS: judge_credentials(desired, observed),
        **({kinds.KAFKA_USER: user} if user is not None else {}),
        kinds.SENDERS: senders,
    }
    return {
        kinds.READY: _ready(desired, parts),
        **parts,
        kinds.RELAYS: _relays(desired, observed),
        kinds.DEAD_LETTERS: _dead_letters(desired, observed),
        kinds.PAUSED: _paused(desired),
        **progress(parts.values(), is_acting=desired.is_managed),
    }


def progress(parts: Collection[Finding], *, is_acting: bool) -> Mapping[str, Finding]:
    """Return Reconciling and Stalled, as kstatus reads them: abnormal-true."""
    stuck = next((part for part in parts if part.is_stalled), None)
    missing = next((part for part in parts if part.status != "True"), None)
    is_on_its_way = missing is not None and stuck is None and is_acting
    return {
        kinds.RECONCILING: _abnormal(missing if is_on_its_way else None),
        kinds.STALLED: _abnormal(stuck),
    }


def _abnormal(cause: Finding | None) -> Finding:
    if cause is None:
        return Finding("False", "Settled", "")
    return Finding("True", cause.reason, cause.message)


def _ready(desired: Desired, parts: Mapping[str, Finding]) -> Finding:
    bad = [part for part in parts.values() if part.status != "True"]
    if bad:
        worst = min(bad, key=lambda part: not part.is_stalled)
        return Finding(
            "False",
            worst.reason,
            worst.message,
            is_stalled=worst.is_stalled,
            is_progressing=worst.is_progressing,
        )
    if desired.spec.paused:
        return good("Paused", "topics keep what comes; no mail is sent")
    return good("Delivering", f"mails in topic {desired.names.main} are delivered")


def _relays(desired: Desired, observed: Observed) -> Finding:
    if not observed.relays:
        return Finding("Unknown", "NotMeasured", "no sender has told of its relays")
    ill = [relay for relay in observed.relays if not relay.is_healthy]
    if ill:
        message = f"{listing(relay.name for relay in ill)}: {ill[0].message or 'unavailable'}"
        return Finding("False", "RelayUnavailable", message)
    paces = in_words(relay_statuses(desired, observed))
    return good("Healthy", f"every relay takes mails{paces}")


def _dead_letters(desired: Desired, observed: Observed) -> Finding:
    if observed.dead_letters is None:
        old = desired.status.condition(kinds.DEAD_LETTERS)
        if old is not None:
            return Finding(old.status, old.reason, old.message)
        return Finding("Unknown", "NotMeasured", "the DLQ has not been looked at")
    if observed.dead_letters:
        topic = desired.names.main
        message = f"mails wait for a person: mailtopic dlq list --topic {topic}, or a MailReplay"
        return Finding("False", "DeadLetters", message)
    return good("Empty", "no mail is dead")


def _paused(desired: Desired) -> Finding:
    if not desired.is_managed:
        return good("Unmanaged", "an annotation keeps the operator from changing anything")
    if desired.is_dry_run:
        return good("DryRun", "what would be done is in status.plan")
    if desired.spec.paused:
        return good("Paused", "spec.paused is true: no mail is sent")
    return Finding("False", "Running", "")
