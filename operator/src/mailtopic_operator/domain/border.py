"""Keeps a MailTopic away from topics that aren't its own: then nothing is changed for it."""

from dataclasses import replace

from mailtopic_operator.domain.conflict import rival, taken
from mailtopic_operator.domain.desired import Desired
from mailtopic_operator.domain.findings import Finding, listing, stalled
from mailtopic_operator.domain.naming import name_problem
from mailtopic_operator.domain.observed import Observed
from mailtopic_operator.domain.topic_statuses import foreign_topics


def obstacle(desired: Desired, observed: Observed) -> Finding | None:
    """Return why the topics don't belong to this MailTopic; None if they do, or will."""
    problem = name_problem(desired)
    if problem is not None:
        return stalled("TopicNotAllowed", problem)
    other = rival(desired, observed)
    if other is not None:
        return taken(desired, other)
    foreign = foreign_topics(desired, observed)
    return stalled("TopicExists", _existing(desired, foreign)) if foreign else None


def _existing(desired: Desired, foreign: tuple[str, ...]) -> str:
    said = f"not made by the operator for this MailTopic: {listing(foreign)}"
    if desired.defaults.border.prefixes(desired.meta.namespace) is None:
        namespace = desired.meta.namespace
        said += (
            f"; to take over what exists, name prefixes for namespace {namespace} in"
            " operator.topics.prefixes"
        )
        return said + ("" if desired.spec.topic.adopt else " and write adopt: true into spec.topic")
    return f"{said}; to take over what exists, write adopt: true into spec.topic"


def without_numbers(observed: Observed) -> Observed:
    """Return `observed` without record counts, because the topics aren't the MailTopic's."""
    return replace(observed, lag=None, dead_letters=None)
