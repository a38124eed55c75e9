"""The signup process with a real Kafka: what was answered with 202 gets there, whatever dies."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
from aiokafka import AIOKafkaProducer

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
    decode_headers,
    decode_record,
    open_variables,
)
from support.conditions import until
from support.kafka_records import read_everything
from support.kafka_topics import create_topics
from support.signup_process import SignupProcess


async def mails_in(node: KafkaNode, topic: str) -> list[MailRecord]:
    mails = []
    for stored in await read_everything(node.bootstrap_servers, topic, topic):
        origin = RecordOrigin(stored.topic, stored.partition, stored.offset, 0)
        mail = decode_record(stored.value, origin=origin, legacy=LegacyDefaults("ru", 1))
        assert decode_headers(list(stored.headers)).mail_id == mail.id
        assert stored.key == mail.address.partition_key
        mails.append(mail)
    return mails


async def sign_up(process: SignupProcess, addresses: list[str], *, at_once: int = 50) -> list[str]:
    """Sign up from several clients; returns the addresses that got a 202."""
    accepted: list[str] = []
    waiting = iter(addresses)

    async def person(client: httpx.AsyncClient) -> None:
        for address in waiting:
            try:
                answer = await client.post("/v1/signups", json={"email": address})
            except httpx.TransportError:
                return
            assert answer.status_code == 202, answer.text
            accepted.append(address)

    async with httpx.AsyncClient(base_url=process.url, timeout=60) as client:
        await asyncio.gather(*(person(client) for _ in range(at_once)))
    return accepted


def addresses_of(count: int, name: str = "user") -> list[str]:
    return [f"{name}{number}@example.com" for number in range(count)]


def check_log(process: SignupProcess, *codes: str) -> Counter[str]:
    """Nothing in the log tells an address, a code or of an accident; returns the events."""
    text = process.log_file.read_text()
    assert "Traceback" not in text
    assert "@example.com" not in text
    assert not [code for code in codes if f'"{code}"' in text]
    return Counter(line["event"] for line in process.log_lines())


NewProcess = Callable[[KafkaNode], SignupProcess]


@pytest.fixture
async def new_process(topic: str, tmp_path: Path) -> AsyncIterator[NewProcess]:
    """Makes processes that share their files and don't outlive the test."""
    made: list[SignupProcess] = []

    def make(kafka: KafkaNode) -> SignupProcess:
        made.append(SignupProcess(tmp_path, kafka.bootstrap_servers, topic))
        return made[-1]

    yield make
    for process in made:
        await process.kill()


@pytest.fixture
async def signup(
    kafka: KafkaNode, topic: str, new_process: NewProcess
) -> AsyncIterator[SignupProcess]:
    await create_topics(kafka.bootstrap_servers, topic, TopicNames(topic).status)
    process = new_process(kafka)
    await process.start()
    yield process
    assert await process.stop() == 0
    check_log(process)


async def test_a_signup_reaches_kafka_its_code_verifies_and_its_outcome_comes_back(
    signup: SignupProcess, kafka: KafkaNode
) -> None:
    async with httpx.AsyncClient(base_url=signup.url) as client:
        begun = await client.post("/v1/signups", json={"email": "anna@example.com", "locale": "en"})
        challenge = f"/v1/signups/{begun.json()['challenge_id']}"

        async def arrived() -> list[MailRecord]:
            return await mails_in(kafka, signup.topic)

        await until(arrived, "the record is in Kafka")
        (mail,) = await arrived()
        seal = MailSeal(KeyRing.load(signup.folder / "keys.json"), signup.topic)
        code = open_variables(mail, seal)["code"]
        verified = await client.post(f"{challenge}/verify", json={"code": code})
        assert verified.status_code == 200

        event = StatusEvent(
            id=mail.id, outcome=Outcome.ACCEPTED, at=mail.accepted_at, attempt=1, purpose="signup"
        )
        producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers)
        await producer.start()
        for value in (b"nonsense", event.encode()):
            await producer.send_and_wait(TopicNames(signup.topic).status, value, key=event.key)
        await producer.stop()

        async def is_sent() -> bool:
            return bool((await client.get(challenge)).json()["delivery"] == "sent")

        await until(is_sent, "the delivery is known", timeout_s=60)
        metrics = (await client.get("/metrics")).text
        assert 'mailtopic_delivery_states_total{state="sent"} 1.0' in metrics
        assert 'mailtopic_build_info{component="signup"' in metrics
    check_log(signup, code)


async def test_a_body_of_a_megabyte_gets_413_over_a_real_connection(signup: SignupProcess) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 10_000

    async with httpx.AsyncClient(base_url=signup.url) as client:
        for content in (b" " * 1_000_000, chunks()):
            answer = await client.post(
                "/v1/signups", content=content, headers={"content-type": "application/json"}
            )
            assert answer.status_code == 413
            assert answer.json()["errors"][0]["field"] == "body"


async def test_signups_are_accepted_before_kafka_and_its_topic_are_there(
    own_kafka: KafkaNode, topic: str, new_process: NewProcess
) -> None:
    await own_kafka.stop()
    process = new_process(own_kafka)
    await process.start()
    assert len(await sign_up(process, addresses_of(20, "early"))) == 20
    assert (await process.ready())["status"] == "degraded"
    await own_kafka.start()

    async def is_waiting_for_the_topic() -> bool:
        return "topic" in (await process.ready())["kafka"]

    await until(is_waiting_for_the_topic, "it is told that the topic is missing", timeout_s=60)
    await create_topics(own_kafka.bootstrap_servers, topic, TopicNames(topic).status)

    async def all_arrived() -> bool:
        return len(await mails_in(own_kafka, topic)) >= 20

    await until(all_arrived, "all mails are in Kafka", timeout_s=60)
    await own_kafka.kill()
    assert len(await sign_up(process, addresses_of(20, "later"))) == 20
    await own_kafka.start()

    async def later_ones_too() -> bool:
        return len({mail.email for mail in await mails_in(own_kafka, topic)}) == 40

    await until(later_ones_too, "all later mails are in Kafka", timeout_s=90)
    assert await process.stop() == 0
    events = check_log(process)
    assert sum(count for event, count in events.items() if "unavailable" in event) <= 8


async def test_a_broker_that_is_silent_keeps_no_process_that_is_asked_to_stop(
    own_kafka: KafkaNode, topic: str, new_process: NewProcess
) -> None:
    await create_topics(own_kafka.bootstrap_servers, topic, TopicNames(topic).status)
    process = new_process(own_kafka)
    process.settings["KAFKA__REQUEST_TIMEOUT_S"] = "60"  # twice as long as `stop` waits
    await process.start()
    await sign_up(process, ["early@example.com"])
    await until(process.has_published_all, "the first is in Kafka")
    assert own_kafka.pid is not None
    os.kill(own_kafka.pid, signal.SIGSTOP)
    try:
        assert await sign_up(process, ["late@example.com"]) == ["late@example.com"]
        assert await process.stop() == 0
    finally:
        os.kill(own_kafka.pid, signal.SIGCONT)
    check_log(process)


async def test_what_was_accepted_outlives_a_kill(
    kafka: KafkaNode, topic: str, new_process: NewProcess
) -> None:
    await create_topics(kafka.bootstrap_servers, topic)
    victim = new_process(kafka)
    await victim.start()
    signing_up = asyncio.create_task(sign_up(victim, addresses_of(4000)))

    async def is_busy() -> bool:
        return victim.log_file.read_text().count('"status":202') > 100

    await until(is_busy, "a hundred signups were accepted")
    await victim.kill()
    accepted = await signing_up
    assert 100 <= len(accepted) < 4000
    await victim.start()
    found: list[MailRecord] = []

    async def all_arrived() -> bool:
        found[:] = await mails_in(kafka, topic)
        return {mail.email for mail in found} >= set(accepted)

    await until(all_arrived, "every accepted signup has its mail in Kafka", timeout_s=60)
    assert await victim.stop() == 0
    # A repeated record is a repetition, not another mail.
    assert len({mail.id for mail in found}) == len({mail.email for mail in found})
    check_log(victim)


async def test_two_processes_share_a_database_and_publish_every_mail_once(
    kafka: KafkaNode, topic: str, new_process: NewProcess
) -> None:
    await create_topics(kafka.bootstrap_servers, topic)
    processes = [new_process(kafka) for _ in range(2)]
    for process in processes:
        # As by default: on a busy machine two writers of one file wait for each other for long,
        # and a lease that ends meanwhile is no lease that holds.
        process.settings["OUTBOX__LEASE_S"] = "15"
    await asyncio.gather(*(process.start() for process in processes))
    accepted = await asyncio.gather(
        *(
            sign_up(process, addresses_of(150, f"p{number}-"))
            for number, process in enumerate(processes)
        )
    )
    assert [len(each) for each in accepted] == [150, 150]

    async def all_arrived() -> bool:
        return len(await mails_in(kafka, topic)) >= 300

    await until(all_arrived, "all mails are in Kafka", timeout_s=60)
    assert [await process.stop() for process in processes] == [0, 0]
    mails = await mails_in(kafka, topic)
    assert len(mails) == len({mail.id for mail in mails}) == 300
