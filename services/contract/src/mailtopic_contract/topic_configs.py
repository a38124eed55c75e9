"""How a MailTopic's topics are configured, whoever creates them: a sender or the operator."""

from mailtopic_contract.topics import TopicNames

MAX_RECORD_BYTES = 4 * 1024 * 1024
"""max.message.bytes of a main topic that is created: garbage must arrive to be refused."""

HEADER_ROOM_BYTES = 64 * 1024
"""What a record may grow by on its way to the DLQ."""

MAX_MESSAGE_BYTES = "max.message.bytes"
CLEANUP_POLICY = "cleanup.policy"
STATUS_POLICY = "compact,delete"
"""The last event of each mail stays as long as any; none stays for ever."""


def topic_config(
    names: TopicNames, name: str, *, max_record_bytes: int = MAX_RECORD_BYTES
) -> dict[str, str]:
    """Return what a topic needs to be configured with; the rest is the brokers' default.

    Args:
        names: the topics of the MailTopic.
        name: one of them.
        max_record_bytes: max.message.bytes of the main topic.
    """
    if name == names.status:
        return {CLEANUP_POLICY: STATUS_POLICY}
    room = 0 if name == names.main else HEADER_ROOM_BYTES
    return {MAX_MESSAGE_BYTES: str(max_record_bytes + room)}
