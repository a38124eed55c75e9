"""Kafka's errors in words: what is wrong, with which topic or group, and what mends it."""

from collections.abc import Mapping

from aiokafka import TopicPartition, errors

NO_BROKER = "no broker answers"


def describe_refusal(
    error: BaseException, *, topic: str | None = None, group: str | None = None
) -> str | None:
    """Return in words what a broker refuses; None for an error that isn't a refusal.

    Args:
        error: what a Kafka client raised.
        topic: the topic or topics that were asked for.
        group: the consumer group that was asked for.
    """
    of_topic = f"the topic {topic}" if topic else "the topic"
    of_group = f"the group {group}" if group else "the group"
    words: dict[type[errors.KafkaError], str] = {
        errors.InconsistentGroupProtocolError: (
            f"{of_group} is used by other consumers with another assignor or protocol: "
            "stop them, or give this MailTopic a group of its own"
        ),
        errors.GroupAuthorizationFailedError: (
            f"{of_group} is not allowed: grant Read on the group"
        ),
        errors.TopicAuthorizationFailedError: (
            f"{of_topic} is not allowed: grant Read, Write and Describe on it"
        ),
        errors.ClusterAuthorizationFailedError: "the cluster does not allow it",
        errors.UnknownTopicOrPartitionError: f"{of_topic} does not exist, or not all of it",
        errors.InvalidTopicError: f"{of_topic} has a name that is not valid",
        errors.InvalidSessionTimeoutError: (
            f"{of_group} can't be joined: the broker does not allow the session timeout"
        ),
        errors.InvalidGroupIdError: f"{of_group} can't be joined: its name is not valid",
        errors.GroupCoordinatorNotAvailableError: (
            f"{of_group} has no coordinator: see that __consumer_offsets has all its leaders"
        ),
        errors.NotCoordinatorForGroupError: f"the coordinator of {of_group} is moving",
        errors.PolicyViolationError: "the broker's policy forbids it",
        errors.InvalidReplicationFactorError: (
            f"{of_topic} can't be created: there are fewer brokers than replicas"
        ),
    }
    return next((text for kind, text in words.items() if isinstance(error, kind)), None)


def describe_unreadable(found: Mapping[TopicPartition, str]) -> str | None:
    """Return in words which partitions a broker can't give out; None where there is none.

    Args:
        found: names of errors by partition.
    """
    if not found:
        return None
    place, name = min(found.items())
    refusal = describe_refusal(getattr(errors, name)(), topic=place.topic)
    others = f", and {len(found) - 1} more" if len(found) > 1 else ""
    reason = refusal or f"the broker answers {name}; its log says more"
    return f"partition {place.partition} of {place.topic}{others} can't be read: {reason}"
