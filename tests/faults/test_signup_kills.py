"""Signups go on while the API, the publisher, PostgreSQL and Kafka are killed, again and again.

Every 202 is one mail: in Kafka once, or, where a kill fell between Kafka's acknowledgement and the
mark in the outbox, more than once with the same id and the same bytes. What got no answer may be
there or not. At the end no code is found anywhere: neither in the database, nor in Kafka, nor in
any log.
"""

import asyncio
import re
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

import httpx
import pytest

from mailtopic_cli.kafka_node import KafkaNode
from mailtopic_contract import (
    KeyRing,
    LegacyDefaults,
    MailRecord,
    MailSeal,
    RecordOrigin,
    TopicNames,
    decode_headers,
    decode_record,
    open_variables,
)
from support.brokers import running_node
from support.conditions import until
from support.kafka_records import Stored, read_everything
from support.kafka_topics import create_topics
from support.postgresql import PostgreSQL, running_postgresql
from support.signup_process import SignupProcess

RATE_PER_S = 50
BETWEEN = 150
"""Signups that are accepted between two kills."""
# Ten digits: what looks like a code by chance is then none. But for ids and MACs in hexadecimal:
# one in a hundred places holds ten digits there, and among 16,000 codes one is hit by chance.
CODE_LENGTH = 10
_NUMBER = re.compile(rb"(?<![0-9a-f])[0-9]{10}(?![0-9a-f])")


@dataclass
class People:
    """They sign up at a steady rate, each once, and take no answer for a no."""

    urls: list[str]
    accepted: set[str] = field(default_factory=set)
    unanswered: set[str] = field(default_factory=set)
    stopped: bool = False

    async def sign_up(self) -> None:
        async with httpx.AsyncClient(timeout=30) as client, asyncio.TaskGroup() as group:
            next_s = time.monotonic()
            for number, url in enumerate(cycle(self.urls)):
                if self.stopped:
                    return
                group.create_task(self._one(client, url, f"user{number}@example.com"))
                next_s += 1 / RATE_PER_S
                await asyncio.sleep(max(0.0, next_s - time.monotonic()))

    async def _one(self, client: httpx.AsyncClient, url: str, address: str) -> None:
        try:
            answer = await client.post(f"{url}/v1/signups", json={"email": address})
        except httpx.TransportError:
            self.unanswered.add(address)
            return
        assert answer.status_code in {202, 503}, answer.text
        (self.accepted if answer.status_code == 202 else self.unanswered).add(address)

    async def more_are_accepted(self) -> None:
        wanted = len(self.accepted) + BETWEEN
        await until(lambda: len(self.accepted) >= wanted, "signups go on", timeout_s=90)


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgreSQL]:
    yield from running_postgresql("faults")


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[KafkaNode]:
    yield from running_node(tmp_path / "kafka", "faults")


@dataclass
class Service:
    """Two processes of the API with their publishers, and what they need."""

    processes: list[SignupProcess]
    postgresql: PostgreSQL
    kafka: KafkaNode
    folder: Path

    @property
    def topic(self) -> str:
        return self.processes[0].topic

    async def kill_each(self, people: People, victim: SignupProcess) -> None:
        """Kill one process, the database and the broker, and start each of them again."""
        await people.more_are_accepted()
        await victim.kill()
        await victim.start()
        await people.more_are_accepted()
        await asyncio.to_thread(self.postgresql.kill)
        await asyncio.to_thread(self.postgresql.start)
        await people.more_are_accepted()
        await self.kafka.kill()
        await people.more_are_accepted()
        await self.kafka.start()
        await people.more_are_accepted()

    async def records(self) -> list[Stored]:
        """Everything that is in the topic, once nothing waits in the outbox."""
        for process in self.processes:
            await until(process.has_published_all, "the outbox is empty", timeout_s=90)
        return await read_everything(self.kafka.bootstrap_servers, self.topic, self.topic)

    async def everything_written(self) -> tuple[list[Path], list[bytes]]:
        """Stop all of it; returns all files, and what they and the database hold."""
        url = self.processes[0].settings["DATABASE__URL"]
        dump = await asyncio.to_thread(self.postgresql.dump, url)
        for process in self.processes:
            assert await process.stop() == 0
        await asyncio.to_thread(self.postgresql.stop)
        await self.kafka.stop()
        folders = (self.folder, self.postgresql.folder)
        files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
        return files, [dump, *(path.read_bytes() for path in files)]


@pytest.fixture
async def service(
    postgresql: PostgreSQL, own_kafka: KafkaNode, topic: str, tmp_path: Path
) -> AsyncIterator[Service]:
    await create_topics(own_kafka.bootstrap_servers, topic, TopicNames(topic).status)
    settings = {
        "DATABASE__URL": postgresql.new_database(),
        "CODES__LENGTH": str(CODE_LENGTH),
        "LOG__LEVEL": "debug",
    }
    processes = [
        SignupProcess(tmp_path, own_kafka.bootstrap_servers, topic, settings=settings)
        for _ in range(2)
    ]
    for process in processes:
        await process.start()
    yield Service(processes, postgresql, own_kafka, tmp_path)
    for process in processes:
        await process.kill()


LONG = pytest.param(12, id="12", marks=[pytest.mark.guarantees, pytest.mark.timeout(900)])


@pytest.mark.parametrize("rounds", [1, LONG])
async def test_every_202_is_one_mail_whatever_is_killed_and_no_code_is_anywhere(
    service: Service, rounds: int, figure: Callable[[str], None]
) -> None:
    people = People([process.url for process in service.processes])
    began_s = time.monotonic()
    signing_up = asyncio.create_task(people.sign_up())
    for number in range(rounds):
        await service.kill_each(people, service.processes[number % 2])
    people.stopped = True
    await signing_up
    seconds = time.monotonic() - began_s
    records = await service.records()
    mails = by_address(records)
    check_mails(people, mails)
    figure(
        f"{len(people.accepted)} times 202 in {seconds:.0f} s, {3 * rounds} kills; "
        f"{len(people.unanswered)} without an answer, "
        f"{len(mails.keys() & people.unanswered)} of these in Kafka; 0 lost, "
        f"{len(records) - len(mails)} records a second time, with the same id"
    )
    files, texts = await service.everything_written()
    # Kafka's files may be compressed: what they hold is looked at as well.
    texts += [record.value or b"" for record in records]
    keyring = KeyRing.load(service.folder / "keys.json")
    codes = {code_of(record, keyring) for record in records}
    assert len(codes) >= len(people.accepted)
    assert numbers_in([b"\x00".join(codes)]) == codes
    assert codes & numbers_in(texts) == set()
    figure(f"{len(codes)} codes, none in {sum(map(len, texts)) >> 20} MiB of {len(files)} files")
    logs = b"".join(process.log_file.read_bytes() for process in service.processes)
    assert b"Traceback" not in logs
    assert b"@example.com" not in logs


def check_mails(people: People, mails: dict[str, list[Stored]]) -> None:
    assert people.accepted - mails.keys() == set()
    assert mails.keys() - people.accepted <= people.unanswered
    for copies in mails.values():
        # A repeated record is the same one, byte for byte.
        assert len({(each.key, each.value, each.headers) for each in copies}) == 1


def by_address(records: Iterable[Stored]) -> dict[str, list[Stored]]:
    found: dict[str, list[Stored]] = defaultdict(list)
    for record in records:
        mail = decoded(record)
        assert decode_headers(list(record.headers)).mail_id == mail.id
        found[mail.email].append(record)
    return found


def decoded(record: Stored) -> MailRecord:
    origin = RecordOrigin(record.topic, record.partition, record.offset, 0)
    return decode_record(record.value, origin=origin, legacy=LegacyDefaults("ru", 1))


def code_of(record: Stored, keyring: KeyRing) -> bytes:
    return open_variables(decoded(record), MailSeal(keyring, record.topic))["code"].encode()


def numbers_in(texts: Iterable[bytes]) -> set[bytes]:
    return {number for text in texts for number in _NUMBER.findall(text)}
