"""Everything that rounds need, running: Kafka, the sink, and the peers' runtimes."""

import asyncio
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.side_by_side.measuring import Workshop
from benchmarks.side_by_side.peer_programs import Peer
from benchmarks.side_by_side.places import RUNS
from benchmarks.side_by_side.records import RecordMaker
from benchmarks.side_by_side.relay_sink import Sink
from benchmarks.side_by_side.tools import Report, go_program, node, python
from benchmarks.side_by_side.topics import Topics
from mailtopic_cli.kafka_node import KafkaNode
from mailtopic_contract import KeyRing
from support.ports import free_ports


@contextmanager
def opened(peers: Iterable[Peer], report: Report) -> Iterator[Workshop]:
    """Fetch what is missing, start Kafka and the sink, and end both in the end.

    Raises:
        ToolError: something can't be fetched or built.
        DistributionError: the same, for Kafka.
    """
    ways: dict[str, Callable[[Report], Path]] = {"node": node, "python": python}
    needed = {peer.runtime for peer in peers} & ways.keys()
    runtimes = {name: ways[name](report) for name in sorted(needed)}
    program = go_program("sink", report)
    shutil.rmtree(RUNS, ignore_errors=True)
    RUNS.mkdir(parents=True)
    keyring = KeyRing.generate()
    (RUNS / "keys.json").write_text(keyring.dump())
    port, controller_port = free_ports(2)
    broker = KafkaNode(RUNS / "kafka", port=port, controller_port=controller_port)
    asyncio.run(broker.start(report))
    try:
        with Sink(program, RUNS) as sink:
            topics = Topics(broker.bootstrap_servers)
            yield Workshop(topics, sink, runtimes, RUNS, RecordMaker(keyring))
    finally:
        asyncio.run(broker.stop())
