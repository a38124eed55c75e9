"""Several MailTopics that use the same topic: it belongs to the oldest one."""

from mailtopic_operator.domain.desired import Desired
from mailtopic_operator.domain.findings import Finding, stalled
from mailtopic_operator.domain.observed import Claimant, Observed


def rival(desired: Desired, observed: Observed) -> Claimant | None:
    """Return the MailTopic that owns one of the topics; None if all are this one's.

    The order is the same for every MailTopic: age, then namespace and name.
    """
    own = set(desired.names.all)
    meta = desired.meta
    mine = (meta.created_at, meta.namespace, meta.name)
    older = [
        other
        for other in observed.claimants
        if other.uid != meta.uid
        and own & other.topics
        and (other.created_at, other.namespace, other.name) < mine
    ]
    return min(older, key=lambda o: (o.created_at, o.namespace, o.name), default=None)


def shared_topics(desired: Desired, observed: Observed) -> frozenset[str]:
    """Return the topics that another MailTopic, older or not, also uses: never deleted."""
    others = [
        claimant.topics for claimant in observed.claimants if claimant.uid != desired.meta.uid
    ]
    return frozenset().union(*others).intersection(desired.topics)


def taken(desired: Desired, other: Claimant) -> Finding:
    """Return the newer MailTopic's TopicsReady."""
    topic = min(set(desired.names.all) & other.topics, key=len)
    return stalled(
        "TopicConflict",
        f"topic {topic} belongs to MailTopic {other.namespace}/{other.name}, which is older: delete"
        " one of the two, or make this one with another spec.topic.name",
    )
