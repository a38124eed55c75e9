"""Runs in a pod, with the image of the sender: writes records to Kafka, or tries to.

    kafka_records.py pump TOPIC STOP_FILE   until the file is there; then counts what is stored
    kafka_records.py count TOPIC            counts what is stored
    kafka_records.py write TOPIC            one record, once; tells what came of it

How to reach Kafka is in MAILTOPIC_KAFKA__…, as for a service. Writes lines of JSON.
"""

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import aiokafka

from mailtopic_client import BrokerUnavailable, KafkaClient, KafkaSettings, RecordRefused
from mailtopic_contract import TopicNames
from mailtopic_sender.adapters.kafka_topics import KafkaTopics

_PARTITIONS = 3
_PAUSE_S = 0.02
_TRY_S = 8.0


def settings() -> KafkaSettings:
    names = ("bootstrap_servers", "security_protocol", "username", "password", "ca_file")
    given = {name: os.environ.get(f"MAILTOPIC_KAFKA__{name.upper()}") for name in names}
    values: dict[str, Any] = {name: value for name, value in given.items() if value}
    values["bootstrap_servers"] = tuple(values["bootstrap_servers"].split(","))
    return KafkaSettings(**values)


def tell(**facts: object) -> None:
    print(json.dumps(facts), flush=True)  # noqa: T201 - read from the pod's log


async def ensure(topic: str) -> None:
    """Create the topics as a sender does, with the cluster's own number of replicas."""
    await KafkaTopics(
        settings().client_kwargs(), TopicNames(topic), partitions=_PARTITIONS
    ).ensure()


async def pump(topic: str, stop_file: Path) -> None:
    """Write one record after the other, each acknowledged by all that have to."""
    await ensure(topic)
    client = KafkaClient(settings(), publish_timeout_s=120)
    await client.publish(topic, key=b"first", value=b"")
    tell(step="started")
    sent, errors, longest_s = 0, 0, 0.0
    while not stop_file.exists():  # noqa: ASYNC240 - it costs microseconds
        began_s = time.monotonic()
        try:
            await client.publish(topic, key=str(sent).encode(), value=b"x" * 1000)
        except (BrokerUnavailable, RecordRefused):
            errors += 1
        else:
            sent += 1
        longest_s = max(longest_s, time.monotonic() - began_s)
        await asyncio.sleep(_PAUSE_S)
    await client.close()
    stored = await keys_of(topic) - {b"first"}
    lost = {str(number).encode() for number in range(sent)} - stored
    tell(step="done", sent=sent, errors=errors, lost=len(lost), longest_s=round(longest_s, 2))


async def keys_of(topic: str) -> set[bytes]:
    """The keys of all records that are stored."""
    kwargs = settings().client_kwargs()
    async with aiokafka.AIOKafkaConsumer(**kwargs, auto_offset_reset="earliest") as consumer:
        places = [aiokafka.TopicPartition(topic, number) for number in range(_PARTITIONS)]
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        keys: set[bytes] = set()
        while any([await consumer.position(place) < ends[place] for place in places]):
            for batch in (await consumer.getmany(timeout_ms=500)).values():
                keys |= {record.key for record in batch}
        return keys


async def write(topic: str) -> None:
    """Try once; an attempt that hangs is one that got nowhere."""
    client = KafkaClient(settings(), publish_timeout_s=_TRY_S)
    try:
        async with asyncio.timeout(_TRY_S):
            await client.publish(topic, key=b"tried", value=b"")
        tell(result="stored")
    except RecordRefused as refused:
        tell(result=refused.reason)
    except (BrokerUnavailable, TimeoutError):
        tell(result="unreachable", reason=client.problem)
    finally:
        await client.close()


async def main() -> None:
    mode, topic, *rest = sys.argv[1:]
    if mode == "pump":
        await pump(topic, Path(rest[0]))
    elif mode == "count":
        tell(stored=len(await keys_of(topic)))
    else:
        if rest:
            await ensure(topic)
        await write(topic)


if __name__ == "__main__":
    asyncio.run(main())
