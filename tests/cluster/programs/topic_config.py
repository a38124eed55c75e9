"""Changes or reads a topic as an administrator would; runs in the operator's pod.

    topic_config.py set TOPIC KEY VALUE
    topic_config.py get TOPIC KEY
    topic_config.py list

Where Kafka is stands in MAILTOPIC_KAFKA__BOOTSTRAP_SERVERS, as for the operator.
"""

import os
import sys

from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

_TIMEOUT_S = 15


def main(action: str, *arguments: str) -> str:
    client = AdminClient({"bootstrap.servers": os.environ["MAILTOPIC_KAFKA__BOOTSTRAP_SERVERS"]})
    if action == "list":
        return "\n".join(client.list_topics(timeout=_TIMEOUT_S).topics)
    topic, key, *value = arguments
    resource = ConfigResource(ResourceType.TOPIC, topic)
    if action == "get":
        (answer,) = client.describe_configs([resource]).values()
        return str(answer.result(_TIMEOUT_S)[key].value)
    resource.add_incremental_config(
        ConfigEntry(key, value[0], incremental_operation=AlterConfigOpType.SET)
    )
    (done,) = client.incremental_alter_configs([resource]).values()
    done.result(_TIMEOUT_S)
    return "done"


print(main(*sys.argv[1:]))  # noqa: T201 - read by the test
