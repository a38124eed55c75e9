"""Runs every consumer on hostile records and reports the outcome of each.

    make hostile

starts a Kafka, a relay, a sender (which reads main and retry topics, and N.status for its ledger),
a signup service (which reads N.status) and the `mailtopic` tools (the DLQ and N.status), and prints
the table. The operator reads no record: it counts offsets.
"""

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import aiokafka
from aiokafka.admin import AIOKafkaAdminClient
from prometheus_client import CollectorRegistry

from mailtopic_cli.kafka_node import KafkaNode
from mailtopic_client import KafkaSettings
from mailtopic_client.adapters.kafka_consumer import SafeConsumer
from mailtopic_client.adapters.kafka_partition import FetchedRecord
from mailtopic_contract import TopicNames, parse_tier
from mailtopic_operator.adapters.kafka_backlog import ConfluentBacklog
from mailtopic_operator.adapters.kafka_client import KafkaClient
from mailtopic_operator.domain.kafka import KafkaProblem
from mailtopic_operator.metrics import OperatorMetrics
from mailtopic_sender.adapters.kafka_topics import KafkaTopics
from support.brokers import running_node
from support.conditions import until
from support.hostile_batches import DAMAGED, Laid, damage, hostile, lay, sound_batch
from support.senders import PARTITIONS, Bench
from support.signup_process import SignupProcess
from support.smtp_relay import Fault

MAX_PEAK_MIB = 192
"""The memory limit that the operator gives a sender."""
_TIERS = "1s,2s"
_LONG_REPLY = "451-4.3.0 " + "\r\n451-4.3.0 ".join(["Later" * 80] * 75) + "\r\n451 4.3.0 Later"
"""Almost 32 KiB, the longest reply that is read."""
_COMMANDS = (
    ("dlq", "list"),
    ("dlq", "list", "--json"),
    ("dlq", "show", "0/0"),
    ("dlq", "replay", "--dry-run"),
    ("dlq", "replay", "--yes"),
    ("trace", "0b7e9a52-7d43-4f0e-9d8c-1f6b2a3c4d5e"),
)


@dataclass(frozen=True, slots=True)
class Found:
    """What a run left behind.

    Attributes:
        laid: the hostile batches, by topic.
        letters: the DLQ at the end.
        committed: the next offset of each group and partition, and its end.
        exit_codes: of each process that was asked to end.
        commands: exit code and standard error of each command.
        waiting: how many records wait in each group, as the operator counts them.
        peak_kb: the most memory that each process took.
        logs: what sender and signup wrote.
        delivered_s: how long the honest mails took once a sender was ready.
    """

    names: TopicNames
    laid: Mapping[str, Sequence[Laid]]
    letters: Sequence[FetchedRecord]
    committed: Mapping[tuple[str, aiokafka.TopicPartition], tuple[int, int]]
    exit_codes: Mapping[str, int]
    commands: Mapping[str, tuple[int, str]]
    waiting: Mapping[str, int | KafkaProblem]
    peak_kb: Mapping[str, int]
    logs: str
    delivered_s: float

    def letters_of(self, topic: str, place: Laid) -> list[FetchedRecord]:
        """The dead letters that stand for a batch."""
        last = place.offset + place.count - 1
        return [
            letter
            for letter in self.letters
            if _origin(letter)[:2] == (topic, place.partition)
            and _origin(letter)[2] <= last
            and place.offset <= _origin(letter)[3]
        ]


async def run(directory: Path, node: KafkaNode, topic: str) -> Found:
    """Lay everything into every topic, then start the consumers and wait for the honest mails."""
    names = TopicNames(topic, tuple(parse_tier(tier) for tier in _TIERS.split(",")))
    settings = {"MAILTOPIC_DELIVERY__RETRY_TIERS": _TIERS}
    async with Bench(directory, node.bootstrap_servers, topic, settings) as bench:
        bench.relay.fault(Fault("rcpt", reply=_LONG_REPLY, times=1))
        kwargs = KafkaSettings(bootstrap_servers=(node.bootstrap_servers,)).client_kwargs()
        await KafkaTopics(kwargs, names, partitions=PARTITIONS).ensure()
        read = (names.main, names.retries[0], names.status, names.dlq)
        laid = {name: await _lay(node, directory, name) for name in read}
        honest = await _publish_honest(bench, (names.main, names.retries[0]))
        signup = SignupProcess(directory, node.bootstrap_servers, topic)
        await signup.start()
        try:
            loop = asyncio.get_running_loop()
            await bench.start_ready()
            begun_s = loop.time()
            await bench.delivered(honest, timeout_s=180)
            delivered_s = loop.time() - begun_s
            groups = {topic: (names.main,), f"{topic}.retry": names.retries}
            groups[f"{topic}.signup"] = (names.status,)
            await until(lambda: _is_read(node, groups), "all is committed", timeout_s=120)
            committed = await _committed(node, groups)
            waiting = await _waiting(node, groups)
            peaks: dict[str, int] = {}
            commands = {
                " ".join(words): await _command(bench, peaks, *words) for words in _COMMANDS
            }
            sender = bench.senders["sender"]
            assert signup.process is not None
            peaks |= {"sender": peak_kb(sender.pid), "signup": peak_kb(signup.process.pid)}
            letters = await _read(node, names.dlq)
            exit_codes = {"signup": await signup.stop(), "sender": await sender.end(grace_s=60)}
        finally:
            await signup.kill()
        logs = bench.log()
    return Found(
        names,
        laid,
        letters,
        committed,
        exit_codes,
        commands,
        waiting,
        peaks,
        logs,
        delivered_s,
    )


async def _waiting(
    node: KafkaNode, groups: Mapping[str, Sequence[str]]
) -> Mapping[str, int | KafkaProblem]:
    config = {"bootstrap.servers": node.bootstrap_servers}
    client = KafkaClient(config, timeout_s=20, metrics=OperatorMetrics(CollectorRegistry()))
    try:
        topics = {group: dict.fromkeys(names, PARTITIONS) for group, names in groups.items()}
        return await ConfluentBacklog(client).lags(topics)
    finally:
        await client.close()


async def _lay(node: KafkaNode, directory: Path, topic: str) -> list[Laid]:
    servers = node.bootstrap_servers
    sound = {name: sound_batch(name) for name in DAMAGED}
    later = await lay(servers, topic, PARTITIONS, sound)
    # Behind each damaged batch lie others.
    laid = await lay(servers, topic, PARTITIONS, hostile())
    await damage(directory / "kafka" / "records", topic, later)
    return [*later, *laid]


async def _publish_honest(bench: Bench, topics: Sequence[str]) -> list[str]:
    addresses: list[str] = []
    for topic in topics:
        for partition in range(PARTITIONS):
            address = f"{topic.replace('.', '-')}-{partition}@example.com"
            value = json.dumps({"email": address, "code": "314159"}).encode()
            await bench.broker.publish(topic, key=None, value=value, partition=partition)
            addresses.append(address)
    return addresses


async def _read(node: KafkaNode, topic: str) -> list[FetchedRecord]:
    consumer = SafeConsumer(
        bootstrap_servers=node.bootstrap_servers,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:
        places = [aiokafka.TopicPartition(topic, number) for number in range(PARTITIONS)]
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        ends = await consumer.end_offsets(places)
        found: list[FetchedRecord] = []
        while any([await consumer.position(place) < ends[place] for place in places]):
            for batch in (await consumer.getmany(timeout_ms=200)).values():
                found += batch
        return found
    finally:
        await consumer.stop()


async def _committed(
    node: KafkaNode, groups: Mapping[str, Sequence[str]]
) -> dict[tuple[str, aiokafka.TopicPartition], tuple[int, int]]:
    found: dict[tuple[str, aiokafka.TopicPartition], tuple[int, int]] = {}
    admin = AIOKafkaAdminClient(bootstrap_servers=node.bootstrap_servers)
    consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=node.bootstrap_servers)
    await admin.start()
    await consumer.start()
    try:
        for group, topics in groups.items():
            offsets = await admin.list_consumer_group_offsets(group)
            places = [aiokafka.TopicPartition(t, n) for t in topics for n in range(PARTITIONS)]
            ends = await consumer.end_offsets(places)
            for place in places:
                offset = offsets[place].offset if place in offsets else 0
                found[group, place] = (max(offset, 0), ends[place])
    finally:
        await consumer.stop()
        await admin.close()
    return found


async def _is_read(node: KafkaNode, groups: Mapping[str, Sequence[str]]) -> bool:
    return all(offset >= end for offset, end in (await _committed(node, groups)).values())


async def _command(bench: Bench, peaks: dict[str, int], *words: str) -> tuple[int, str]:
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(bench.directory),
        "MAILTOPIC_KAFKA__BOOTSTRAP_SERVERS": bench.servers,
        "MAILTOPIC_TOPIC": bench.topic,
        "MAILTOPIC_DELIVERY__RETRY_TIERS": _TIERS,
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mailtopic_cli", *words),
        env=env,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    ended = asyncio.create_task(process.communicate())
    while not ended.done():
        with suppress(OSError, IndexError):
            # It only ever grows; the last look before the end is near enough.
            peaks[f"mailtopic {words[0]}"] = max(
                peaks.get(f"mailtopic {words[0]}", 0), peak_kb(process.pid)
            )
        await asyncio.wait({ended}, timeout=0.02)
    out, err = await ended
    assert b"Traceback" not in out + err, (words, err.decode())
    assert process.returncode is not None
    return process.returncode, err.decode()


def peak_kb(pid: int) -> int:
    """The most memory that a process ever had, in KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


def _origin(letter: FetchedRecord) -> tuple[str, int, int, int]:
    headers = dict(letter.headers)
    topic = (headers.get("mt-origin-topic") or b"").decode()
    partition = int(headers.get("mt-origin-partition") or -1)
    offset = (headers.get("mt-origin-offset") or b"-1").decode()
    first, last = offset, offset
    if "mt-unread-offsets" in headers and headers.get("mt-unread-form") != b"value":
        first, _, last = (headers["mt-unread-offsets"] or b"").decode().partition("-")
    return topic, partition, int(first), int(last or first)


def table(found: Found) -> str:
    """Return the table as Markdown."""
    lines = ["| batch | " + " | ".join(found.laid) + " |", "|---" * (1 + len(found.laid)) + "|"]
    for number, place in enumerate(found.laid[found.names.main]):
        cells = []
        for topic, laid in found.laid.items():
            letters = len(found.letters_of(topic, laid[number]))
            refused = f"refused by the broker ({laid[number].error})"
            stepped = f"{letters} letters" if letters else "stepped over"
            cells.append(refused if laid[number].error else stepped)
        lines.append(f"| {place.name} | " + " | ".join(cells) + " |")
    lines += ["", f"Honest mails delivered {found.delivered_s:.1f} s after the sender was ready."]
    lines += [
        f"Peak memory of {name}: {kb / 1024:.0f} MiB of {MAX_PEAK_MIB}."
        for name, kb in found.peak_kb.items()
    ]
    lines += [f"{name} ends with {code}." for name, code in found.exit_codes.items()]
    lines += [f"By the operator, {count} wait in {name}." for name, count in found.waiting.items()]
    lines += [
        f"`mailtopic {name}` exits with {code}." for name, (code, _) in found.commands.items()
    ]
    return "\n".join(lines)


def main() -> None:
    """Run it once, and print the table."""
    with tempfile.TemporaryDirectory() as name:
        for node in running_node(Path(name) / "kafka", "integration"):
            print(table(asyncio.run(run(Path(name), node, "mails"))))  # noqa: T201 - its output


if __name__ == "__main__":
    main()
