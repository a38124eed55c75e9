"""Mails of other services with a real Kafka: they arrive, their outcomes come back."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from mailtopic_cli.kafka_node import KafkaNode
from mailtopic_contract import (
    KeyRing,
    LegacyDefaults,
    MailRecord,
    MailSeal,
    Outcome,
    RecordOrigin,
    StatusEvent,
    TopicNames,
    decode_record,
    decode_status,
    open_variables,
)
from mailtopic_signup.domain.tokens import Tokens, new_token
from support.conditions import until
from support.kafka_records import read_everything
from support.signup_process import SignupProcess


async def create_topics(node: KafkaNode, *names: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=node.bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, 3, 1) for name in names])
    finally:
        await admin.close()


async def mails_in(node: KafkaNode, topic: str) -> list[MailRecord]:
    return [
        decode_record(
            stored.value,
            origin=RecordOrigin(topic, stored.partition, stored.offset, 0),
            legacy=LegacyDefaults("ru", 1),
        )
        for stored in await read_everything(node.bootstrap_servers, topic, topic)
    ]


async def outcomes_in(node: KafkaNode, topic: str) -> list[StatusEvent]:
    name = TopicNames(topic).status
    return [
        decode_status(stored.value)
        for stored in await read_everything(node.bootstrap_servers, topic, name)
    ]


class Service:
    """Another service: it has a token for one topic, and an address to write to."""

    def __init__(self, client: httpx.AsyncClient, topic: str) -> None:
        self.client = client
        self.topic = topic

    async def send(self, code: str) -> str:
        mail = {"topic": self.topic, "to": "anna@example.com", "variables": {"code": code}}
        answer = await self.client.post("/v1/mails", json=mail)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    async def reaches(self, mail_id: str, state: str) -> None:
        async def is_there() -> bool:
            found = await self.client.get(f"/v1/mails/{mail_id}")
            return bool(found.json()["state"] == state)

        await until(is_there, f"the mail is {state}", timeout_s=60)


@pytest.fixture
async def process(
    kafka: KafkaNode, topic: str, tmp_path: Path
) -> AsyncIterator[tuple[SignupProcess, str]]:
    """A service whose own topic doesn't exist, and a token for one that does."""
    receipts = f"{topic}-receipts"
    await create_topics(kafka, receipts, TopicNames(receipts).status)
    token, entry = new_token("billing-1", [receipts])
    (tmp_path / "tokens.json").write_text(Tokens([entry]).dump())
    process = SignupProcess(
        tmp_path,
        kafka.bootstrap_servers,
        topic,
        settings={"MAILS__TOKENS_FILE": str(tmp_path / "tokens.json")},
    )
    await process.start()
    yield process, token
    await process.kill()
    assert token not in process.log_file.read_text()


async def test_a_mail_arrives_and_a_bounce_suppresses_the_next_one(
    kafka: KafkaNode, topic: str, process: tuple[SignupProcess, str]
) -> None:
    signup, token = process
    receipts = f"{topic}-receipts"
    headers = {"authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=signup.url, headers=headers) as client:
        service = Service(client, receipts)
        first = await service.send("481516")

        async def has_arrived() -> bool:
            return len(await mails_in(kafka, receipts)) == 1

        await until(has_arrived, "the mail is in its topic", timeout_s=60)
        (mail,) = await mails_in(kafka, receipts)
        assert str(mail.id) == first
        keys = KeyRing.load(signup.folder / "keys.json")
        assert open_variables(mail, MailSeal(keys, receipts)) == {"code": "481516"}

        bounced = StatusEvent(
            id=mail.id,
            outcome=Outcome.BOUNCED,
            at=mail.accepted_at,
            attempt=1,
            purpose=mail.purpose,
            reply_class="hard_bounce",
            smtp="550 5.1.1",
        )
        async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers) as producer:
            await producer.send_and_wait(
                TopicNames(receipts).status, bounced.encode(), key=bounced.key
            )
        await service.reaches(first, "bounced")

        second = await service.send("162342")
        await service.reaches(second, "suppressed")
        assert len(await mails_in(kafka, receipts)) == 1
        events = {str(each.id): each.outcome for each in await outcomes_in(kafka, receipts)}
        assert events == {first: Outcome.BOUNCED, second: Outcome.SUPPRESSED}
    ready = await signup.ready()
    assert ready["status"] == "ok", ready
