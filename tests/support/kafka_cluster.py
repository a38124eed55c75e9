"""Three brokers that replicate: what production runs, on one machine."""

import asyncio
import base64
import uuid
from pathlib import Path

from mailtopic_cli.kafka_node import KafkaNode
from support.ports import free_ports

SIZE = 3
_CLUSTER_ID = "bWFpbHRvcGljLWZhdWx0cw"


class KafkaCluster:
    """Brokers and controllers at once, with every topic on all three and two acknowledging.

    Args:
        directory: their data.
        node: what each of them is made by, with the arguments of KafkaNode.
        observers: more brokers, which are no controllers.
    """

    def __init__(
        self, directory: Path, node: type[KafkaNode] = KafkaNode, *, observers: int = 0
    ) -> None:
        size = SIZE + observers
        ports = free_ports(2 * size)
        voters = ",".join(f"{n + 1}@127.0.0.1:{ports[size + n]}" for n in range(SIZE))
        self.nodes = {
            number + 1: node(
                directory / f"kafka-{number + 1}",
                port=ports[number],
                controller_port=ports[size + number],
                properties={
                    **_replicated(number + 1, voters),
                    **(_observing(ports[number]) if number >= SIZE else {}),
                },
            )
            for number in range(size)
        }
        for number in self.nodes:
            _format(directory / f"kafka-{number}" / "records", number)

    @property
    def bootstrap_servers(self) -> str:
        return ",".join(node.bootstrap_servers for node in self.nodes.values())

    async def start(self) -> None:
        await asyncio.gather(*(node.start() for node in self.nodes.values()))

    async def stop(self) -> None:
        # The last two can't shut down cleanly: without a quorum there is no controller.
        await asyncio.gather(*(node.kill() for node in self.nodes.values()))


def _replicated(number: int, voters: str) -> dict[str, str]:
    return {
        "node.id": str(number),
        "controller.quorum.voters": voters,
        "default.replication.factor": "3",
        "min.insync.replicas": "2",
        "offsets.topic.replication.factor": "3",
        "transaction.state.log.replication.factor": "3",
        "transaction.state.log.min.isr": "2",
        "unclean.leader.election.enable": "false",
    }


def _observing(port: int) -> dict[str, str]:
    return {"process.roles": "broker", "listeners": f"PLAINTEXT://127.0.0.1:{port}"}


def _format(records: Path, number: int) -> None:
    """What `kafka-storage format` does, with one cluster id for all."""
    records.mkdir(parents=True, exist_ok=True)
    directory_id = base64.urlsafe_b64encode(uuid.UUID(int=2**64 + number).bytes).decode()[:22]
    (records / "meta.properties").write_text(
        f"version=1\ncluster.id={_CLUSTER_ID}\nnode.id={number}\ndirectory.id={directory_id}\n",
        "ascii",
    )
