"""A broker's configuration: `server.properties` and `meta.properties`.

One process is broker and KRaft controller at once, reachable from this machine only.
"""

import base64
import uuid
from collections.abc import Mapping
from pathlib import Path

NODE_ID = 1


def broker_properties(
    records_dir: Path, *, port: int, controller_port: int, extra: Mapping[str, str]
) -> str:
    """The text of `server.properties`; `extra` wins over what is set here."""
    properties = {
        "process.roles": "broker,controller",
        "node.id": str(NODE_ID),
        "controller.quorum.voters": f"{NODE_ID}@127.0.0.1:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "log.dirs": str(records_dir),
        "auto.create.topics.enable": "false",
        "num.partitions": "4",
        # One broker cannot hold the three replicas that are the default of internal topics.
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        # After a crash the broker can register again only when its old session has ended; with one
        # broker, a short session is harmless (9 s otherwise).
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
        # There are no other group members to wait for.
        "group.initial.rebalance.delay.ms": "0",
        # Each partition's index files are mapped at this size; 10 MB is for busy clusters.
        "log.index.size.max.bytes": "1048576",
        "log.cleaner.dedupe.buffer.size": "16777216",
        **extra,
    }
    return "".join(f"{key}={_escaped(value)}\n" for key, value in properties.items())


def write_meta_properties(records_dir: Path) -> None:
    """Mark `records_dir` as a formatted log directory, as `StorageTool format` does.

    Does nothing when it is one already: a new cluster id would make the broker refuse its data.
    """
    path = records_dir / "meta.properties"
    if path.exists():
        return
    text = f"version=1\ncluster.id={_kafka_id()}\nnode.id={NODE_ID}\ndirectory.id={_kafka_id()}\n"
    part = path.with_suffix(".part")
    part.write_text(text, "ascii")
    part.replace(path)


def _kafka_id() -> str:
    """A random UUID in Kafka's form: 22 characters of URL-safe base64, never a leading "-"."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):
            return text


def _escaped(value: str) -> str:
    """A value in Java's properties syntax."""
    return value.replace("\\", "\\\\").replace("\n", "\\n")
