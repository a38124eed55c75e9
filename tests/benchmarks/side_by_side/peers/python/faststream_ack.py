"""FastStream with its at-least-once policy and 32 workers, over a pool of aiosmtplib's sessions.

FastStream makes a consumer for each worker; those beyond the number of partitions have nothing to
do. Its default policy, ACK_FIRST, loses what was on its way when a process dies, so it is no peer.
"""

import uvloop
from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker
from original_settings import BROKERS, GROUP, TOPIC
from sessions import Sessions
from template import recipient_and_message

broker = KafkaBroker(BROKERS)
app = FastStream(broker)
sessions: list[Sessions] = []


async def _raw(message):  # noqa: ANN001, ANN202 - FastStream's decoder: the bytes as they are
    return message.body


@broker.subscriber(
    TOPIC,
    group_id=GROUP,
    auto_offset_reset="earliest",
    ack_policy=AckPolicy.ACK,
    max_workers=32,
    decoder=_raw,
)
async def deliver(value: bytes) -> None:
    """Send a record's mail."""
    if not sessions:
        sessions.append(Sessions())
    await sessions[0].send(*recipient_and_message(value))


uvloop.run(app.run())
