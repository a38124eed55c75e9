"""Real Apache Kafka in one process: started, stopped, killed and started again."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from mailtopic_cli.kafka_node import KafkaNode, KafkaNodeError, broker_answers

pytestmark = pytest.mark.integration
DEADLINE_S = 60


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@asynccontextmanager
async def running_node(data_dir: Path) -> AsyncIterator[KafkaNode]:
    port, controller_port = free_ports(2)
    node = KafkaNode(data_dir, port=port, controller_port=controller_port)
    await node.start()
    try:
        yield node
    finally:
        await node.stop()


async def create_topic(node: KafkaNode) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=node.bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic("mails", 1, 1)])
    finally:
        await admin.close()


async def send(node: KafkaNode, value: bytes) -> None:
    async with AIOKafkaProducer(
        bootstrap_servers=node.bootstrap_servers, acks="all", enable_idempotence=True
    ) as producer:
        await producer.send_and_wait("mails", value)


async def values(node: KafkaNode, count: int) -> list[bytes]:
    async with (
        AIOKafkaConsumer(
            "mails",
            bootstrap_servers=node.bootstrap_servers,
            group_id="readers",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        ) as consumer,
        asyncio.timeout(DEADLINE_S),
    ):
        return [(await anext(consumer)).value for _ in range(count)]


async def test_records_outlive_a_stop_and_a_crash_of_the_broker(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await create_topic(node)
        await send(node, b"before the stop")
        first_pid = node.pid
        await node.stop()
        await node.start()
        assert node.pid not in {None, first_pid}
        await send(node, b"before the crash")
        await node.kill()
        assert await node.wait() == -signal.SIGKILL
        await node.start()
        await send(node, b"after the crash")
        expected = [b"before the stop", b"before the crash", b"after the crash"]
        assert await values(node, 3) == expected
        assert "Kafka Server started" in node.log_file.read_text()


async def test_a_topic_that_nobody_created_does_not_appear_by_itself(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        admin = AIOKafkaAdminClient(bootstrap_servers=node.bootstrap_servers)
        await admin.start()
        try:
            await admin.describe_topics(["nobody"])
            assert await admin.list_topics() == []
        finally:
            await admin.close()


async def test_a_taken_port_ends_the_start_with_the_brokers_own_words(tmp_path: Path) -> None:
    (controller_port,) = free_ports(1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        node = KafkaNode(tmp_path, port=taken.getsockname()[1], controller_port=controller_port)
        with pytest.raises(KafkaNodeError, match="already in use") as failed:
            await node.start()
    assert "\n" not in str(failed.value)
    assert node.pid is None


async def test_as_a_program_it_stops_on_sigterm(tmp_path: Path) -> None:
    port, pid, process = await start_program(tmp_path)
    assert await broker_answers("127.0.0.1", port)
    process.terminate()
    assert await asyncio.wait_for(process.wait(), DEADLINE_S) == 0
    assert not is_running(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a child to its parent")
async def test_the_broker_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    _, pid, process = await start_program(tmp_path)
    process.kill()
    await process.wait()
    async with asyncio.timeout(DEADLINE_S):
        while is_running(pid):  # noqa: ASYNC110 - the end of a grandchild has no event
            await asyncio.sleep(0.05)


async def start_program(data_dir: Path) -> tuple[int, int, asyncio.subprocess.Process]:
    port, controller_port = free_ports(2)
    command = [sys.executable, "-m", "mailtopic_cli.kafka_node", "--data-dir", str(data_dir)]
    command += ["--port", str(port), "--controller-port", str(controller_port)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout
    async with asyncio.timeout(DEADLINE_S):
        async for line in process.stdout:
            if line.startswith(b"Kafka is ready"):
                return port, int(line.rsplit(b" ", 1)[1]), process
    raise AssertionError("the program ended before the broker was ready")


def is_running(pid: int) -> bool:
    """Whether the process runs; one that ended and awaits its parent does not."""
    try:
        os.kill(pid, 0)
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False
