"""Senders between a broker and a relay that outlive them, and what must hold afterwards."""

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Self
from uuid import UUID

import aiokafka
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from mailtopic_client import MailSender
from mailtopic_contract import MailHeaders, MailRecord, new_record
from mailtopic_sender.adapters.topic_states import without_topic_id
from mailtopic_sender.ports import Committed, TopicPartition
from support.conditions import until
from support.invariants import StatusReader, Verdict, judge
from support.senders import PARTITIONS, Senders
from support.smtp_relay_process import RelayProcess


@dataclass
class FaultBench(Senders):
    """One topic, any number of senders, one relay as a process.

    Attributes:
        published: the recipient of each mail, by its id.
        sent_at: when each recipient's mail was published, epoch seconds.
        ttl_s: how long mails are valid.
        partitions: how many the topics have when they are looked at.
        is_hostile: whether the test writes records that are no outcomes into N.status.
    """

    needs_login: bool = False
    ttl_s: float = 3600.0
    partitions: int = PARTITIONS
    is_hostile: bool = False
    published: dict[UUID, str] = field(default_factory=dict)
    sent_at: dict[str, float] = field(default_factory=dict)

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self.relay = RelayProcess(self.directory / "relay", needs_login=self.needs_login)
        await self.relay.start()
        self._stack = AsyncExitStack()
        self._status: StatusReader | None = None
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()
        await super().__aexit__(*error)
        await self.relay.stop()

    def relay_environment(self) -> dict[str, str]:
        return self.relay.environment()

    @property
    def mails(self) -> MailSender:
        return MailSender(self.broker, topic=self.topic, keyring=self.keyring, ttl_s=self.ttl_s)

    async def publish(self, addresses: Iterable[str], *, at_once: int = 50) -> None:
        """Publish one mail to each address, as fast as the broker takes them."""
        waiting = iter(addresses)

        async def publisher() -> None:
            for address in waiting:
                await self._publish_one(address)

        await asyncio.gather(*(publisher() for _ in range(at_once)))

    async def publish_paced(self, addresses: Iterable[str], *, rate_per_s: float) -> None:
        """Publish one mail to each address, at a steady rate."""
        due_s = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for address in addresses:
                tasks.create_task(self._publish_one(address))
                due_s += 1 / rate_per_s
                await asyncio.sleep(max(due_s - time.monotonic(), 0))

    async def _publish_one(self, address: str) -> None:
        self.sent_at[address] = time.time()
        self.published[await self.mails.send_code("123456", address)] = address

    def record(self, address: str, *, ahead_ms: int = 0, ttl_s: float | None = None) -> MailRecord:
        """A mail of a publisher with a clock this far ahead."""
        now_ms = round(time.time() * 1000) + ahead_ms
        return new_record(
            email=address,
            variables={"code": "123456"},
            purpose="signup",
            locale="ru",
            accepted_at_ms=now_ms,
            expires_at_ms=now_ms + round((ttl_s or self.ttl_s) * 1000),
            keyring=self.keyring,
        )

    async def publish_to(
        self,
        partition: int,
        records: Iterable[MailRecord],
        *,
        topic: str | None = None,
        key_of: Callable[[MailRecord], bytes] = lambda record: record.address.partition_key,
        not_before_ms: int | None = None,
    ) -> None:
        """Publish mails to one partition, in order."""
        producer = aiokafka.AIOKafkaProducer(
            bootstrap_servers=self.servers, linger_ms=5, max_batch_size=500_000
        )
        async with producer:
            stored = []
            for record in records:
                self.published[record.id] = record.email
                headers = MailHeaders(mail_id=record.id, not_before_ms=not_before_ms)
                stored.append(
                    await producer.send(
                        topic or self.topic,
                        record.encode(),
                        key=key_of(record),
                        headers=headers.encode(),
                        partition=partition,
                    )
                )
            await asyncio.gather(*stored)

    async def has_committed(self, ends: Mapping[int, int]) -> bool:
        """Whether the group has completed everything below these offsets of the main topic."""
        committed = await self.committed()
        places = {TopicPartition(self.topic, number): end for number, end in ends.items()}
        return all(p in committed and committed[p].offset >= end for p, end in places.items())

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        """An administrator's view of the broker."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.servers)
        await admin.start()
        try:
            yield admin
        finally:
            await admin.close()

    async def create_topic(self, name: str, **configs: str) -> None:
        """Create a topic before a sender does; dots in a setting's name are underscores here."""
        settings = {key.replace("_", "."): value for key, value in configs.items()}
        async with self.admin() as admin:
            answer = await admin.create_topics([NewTopic(name, PARTITIONS, 1, None, settings)])
            assert not any(code for _, code, *_ in answer.topic_errors), answer

    async def status(self) -> StatusReader:
        """N.status until now; a sender has made the topic."""
        if self._status is None:
            self._status = StatusReader(
                self.servers,
                self.topic,
                partitions=self.partitions,
                takes_foreign=self.is_hostile,
            )
            await self._status.start()
            self._stack.push_async_callback(self._status.stop)
        await self._status.read()
        return self._status

    async def taken(self, count: int, *, timeout_s: float = 60) -> None:
        """Wait until this many mails were accepted, including second copies."""
        await until(lambda: len(self.relay.read()) >= count, f"{count} mails", timeout_s=timeout_s)

    async def is_settled(self) -> bool:
        """Whether every mail published until now has a final outcome."""
        return (await self.status()).decided >= self.published.keys()

    async def settled(self, *, timeout_s: float = 120) -> Verdict:
        """Wait until every mail has a final outcome; return the tally."""
        await until(self.is_settled, "every mail has a final outcome", timeout_s=timeout_s)
        return await self.verdict()

    async def verdict(self) -> Verdict:
        return judge(self.published, self.relay.read(), (await self.status()).events)

    async def committed(self, group: str | None = None) -> Mapping[TopicPartition, Committed]:
        """The group's offsets."""
        async with self.admin() as admin:
            found = await admin.list_consumer_group_offsets(group or self.topic)
        return {
            TopicPartition(place.topic, place.partition): Committed(
                at.offset, without_topic_id(at.metadata)[0]
            )
            for place, at in found.items()
            if at.offset >= 0
        }

    async def ends(self, topic: str | None = None) -> dict[int, int]:
        """The end of each partition of a topic; of the main one by default."""
        consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=self.servers)
        await consumer.start()
        try:
            places = [aiokafka.TopicPartition(topic or self.topic, n) for n in range(PARTITIONS)]
            return {p.partition: end for p, end in (await consumer.end_offsets(places)).items()}
        finally:
            await consumer.stop()

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a sender a signal."""
        os.kill(self.senders[name].pid, number)


def addresses(count: int, name: str = "user") -> list[str]:
    return [f"{name}{number}@example.com" for number in range(count)]


def poison(number: int) -> bytes:
    """A value that is no mail, never the same one twice."""
    kinds = [
        b"\x00\xff garbage %d" % number,
        b'{"v":1,"n":%d' % number,
        b'{"v":99,"n":%d}' % number,
        b'{"v":1,"id":"%d","email":"a@b.example"}' % number,
        json.dumps({"email": f"nobody-{number}", "code": "1"}).encode(),
        b"[%d]" % number,
        b'{"pad":"%s","n":%d}' % (b"x" * 300_000, number) if number % 97 == 6 else b"%d" % number,
    ]
    return kinds[number % len(kinds)]
