"""The configuration of a MailTopic's topics, whether a sender or the operator creates them."""

from mailtopic_contract.topics import TopicNames

MAX_RECORD_BYTES = 4 * 1024 * 1024
"""max.message.bytes of a created main topic: garbage must arrive to be refused."""

HEADER_ROOM_BYTES = 64 * 1024
"""How much a record may grow on its way to the DLQ."""

MAX_MESSAGE_BYTES = "max.message.bytes"
CLEANUP_POLICY = "cleanup.policy"
STATUS_POLICY = "compact,delete"
"""Each mail's last event is kept for the whole retention time; none is kept for ever."""


def topic_config(
    names: TopicNames, name: str, *, max_record_bytes: int = MAX_RECORD_BYTES
) -> dict[str, str]:
    """Return a topic's required configuration; the rest is left to the brokers' defaults.

    Args:
        names: the topics of the MailTopic.
        name: one of them.
        max_record_bytes: max.message.bytes of the main topic.
    """
    if name == names.status:
        return {CLEANUP_POLICY: STATUS_POLICY}
    room = 0 if name == names.main else HEADER_ROOM_BYTES
    return {MAX_MESSAGE_BYTES: str(max_record_bytes + room)}
