"""CEL rules over several fields of a MailTopic, with messages that say what to write instead."""

from mailtopic_operator.model.base import DURATION, rule

OWN_KEYS = ("cleanup.policy", "retention.ms")
"""Configuration that the MailTopic sets itself."""

THROTTLES = ("leader.replication.throttled.replicas", "follower.replication.throttled.replicas")
"""Configuration that tools set while they move partitions, and then remove."""

_NAMED = "(has(self.name) ? self.name : '')"
_OLD_NAMED = "(has(oldSelf.name) ? oldSelf.name : '')"
_COPIES = "(has(self.replicationFactor) ? self.replicationFactor : 0)"
_OLD_COPIES = "(has(oldSelf.replicationFactor) ? oldSelf.replicationFactor : 0)"

TOPIC_RULES = (
    rule(
        f"{_NAMED} == {_OLD_NAMED}",
        "a topic can't be renamed: write the old topic.name (or leave it out, as before), or make"
        " another MailTopic",
    ),
    rule(
        f"{_COPIES} == {_OLD_COPIES}",
        "write the old topic.replicationFactor (or leave it out, as before): move the copies with"
        " kafka-reassign-partitions, then make the MailTopic again (deletionPolicy Retain keeps"
        " the topics)",
    ),
    rule(
        "!has(self.config) || !('retention.ms' in self.config)",
        "write topic.retention (such as 168h) instead of retention.ms",
    ),
    rule(
        "!has(self.config) || !('cleanup.policy' in self.config)",
        "leave out cleanup.policy: mails are never compacted, outcomes always are",
    ),
    rule(
        "!has(self.config) || !self.config.exists(key, key.endsWith('.throttled.replicas'))",
        "leave out throttled replicas: tools that move partitions set and remove them",
    ),
    rule(
        "!has(self.config) || !has(self.unmanagedConfig)"
        " || self.unmanagedConfig.all(key, !(key in self.config))",
        "write each key into either topic.config or topic.unmanagedConfig",
    ),
    rule(
        "!has(self.config) || self.config.all(key, key.matches('^[a-z][a-z0-9.]*$'))",
        "write topic.config by Kafka's names, such as min.insync.replicas",
    ),
)

_DURATIONS = f"self.all(tier, tier.matches('{DURATION}'))"

TIER_RULES = (
    rule(
        f"!{_DURATIONS} || (self.map(tier, duration(tier)).isSorted()"
        " && self.all(a, self.exists_one(b, duration(a) == duration(b))))",
        "write retry tiers that grow from one to the next, such as [10s, 1m, 5m]",
    ),
    rule(
        f"!{_DURATIONS} || self.all(tier, duration(tier) <= duration('24h'))",
        "write retry tiers of at most 24h: no mail is sent later",
    ),
)

_SCALING = "self.consumers.autoscaling"
_AGE_AND_RETENTION = (
    f"!self.delivery.maxAge.matches('{DURATION}') || !self.topic.retention.matches('{DURATION}')"
    " || duration(self.topic.retention) >= duration(self.delivery.maxAge)"
)

SPEC_RULES = (
    rule(
        f"!has({_SCALING}.maxReplicas) || {_SCALING}.minReplicas <= {_SCALING}.maxReplicas",
        "write consumers.autoscaling.minReplicas at most as large as maxReplicas",
    ),
    rule(
        f"!has({_SCALING}.maxReplicas) || {_SCALING}.maxReplicas <= self.topic.partitions",
        "write consumers.autoscaling.maxReplicas at most as large as topic.partitions, or more"
        " partitions: a sender without a partition has nothing to do",
    ),
    rule(
        f"{_SCALING}.minReplicas <= self.topic.partitions",
        "write consumers.autoscaling.minReplicas at most as large as topic.partitions",
    ),
    rule(
        _AGE_AND_RETENTION,
        "write topic.retention at least as long as delivery.maxAge, or Kafka deletes mails that"
        " could still be sent",
    ),
)
