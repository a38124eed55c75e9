"""Topics of one round each, filled before the round begins."""

import time
from itertools import count

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from benchmarks.side_by_side.records import Record, at

PARTITIONS = 4


class Topics:
    """Makes and fills topics, and takes them away with all that senders put beside them."""

    def __init__(self, servers: str) -> None:
        self.servers = servers
        self._admin = AdminClient({"bootstrap.servers": servers, "log_level": 2})
        self._numbers = count(1)
        self.producer = Producer(
            {
                "bootstrap.servers": servers,
                "log_level": 2,  # not that the broker ends before this does
                "acks": "all",
                "partitioner": "murmur2_random",
                "queue.buffering.max.messages": 1_000_000,
            }
        )

    def make(self, *, partitions: int = PARTITIONS) -> str:
        """Make an empty topic and return its name."""
        name = f"bench-{next(self._numbers)}"
        for made in self._admin.create_topics([NewTopic(name, partitions, 1)]).values():
            made.result()
        return name

    def fill(self, topic: str, records: list[Record]) -> None:
        """Store records, and return when they are."""
        for record, value in at(records, round(time.time() * 1000)):
            self.send(topic, record, value)
        self.flush()

    def send(self, topic: str, record: Record, value: bytes) -> None:
        """Hand a record to the producer."""
        while True:
            try:
                self.producer.produce(
                    topic, value, record.key, headers=list(record.headers) or None
                )
            except BufferError:
                self.producer.poll(0.1)
            else:
                return

    def flush(self) -> None:
        """Return when everything is stored."""
        left = self.producer.flush(120)
        if left:
            raise TimeoutError(f"{left} records are not stored after two minutes")

    def drop(self, topic: str) -> None:
        """Take the topic away, and those named after it."""
        found = self._admin.list_topics(timeout=30).topics
        names = [name for name in found if name == topic or name.startswith(f"{topic}.")]
        for gone in self._admin.delete_topics(names).values():
            gone.result()
