"""Stores a record as it is given: produce_record.py TOPIC VALUE; runs in the operator's pod."""

import os
import sys

from confluent_kafka import Producer

_TIMEOUT_S = 15


def main(topic: str, value: str) -> None:
    producer = Producer({"bootstrap.servers": os.environ["MAILTOPIC_KAFKA__BOOTSTRAP_SERVERS"]})
    producer.produce(topic, value.encode())
    if producer.flush(_TIMEOUT_S):
        sys.exit("no broker took the record")


main(*sys.argv[1:])
