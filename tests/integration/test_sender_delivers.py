"""The sender process between real Kafka and a relay with TLS."""

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mailtopic_cli.kafka_node import KafkaNode
from mailtopic_contract import Outcome, decode_headers, new_record
from support.conditions import until
from support.senders import Bench
from support.smtp_relay import Fault


@pytest.fixture
async def bench(kafka: KafkaNode, topic: str, tmp_path: Path) -> AsyncIterator[Bench]:
    async with Bench(tmp_path, kafka.bootstrap_servers, topic) as bench:
        yield bench


async def test_sealed_and_original_records_are_delivered_and_recorded(bench: Bench) -> None:
    await bench.start_ready()
    mail_id = await bench.mails.send_code("123456", "sealed@example.com")
    original = json.dumps({"email": "original@example.com", "code": "654321"}).encode()
    await bench.broker.publish(bench.topic, key=None, value=original)

    await bench.delivered(["sealed@example.com", "original@example.com"])
    texts = {
        mail.recipients[0]: mail.message().get_body(("plain",)).get_content()  # type: ignore[union-attr]
        for mail in bench.relay.mails
    }
    assert "123456" in texts["sealed@example.com"]
    assert "654321" in texts["original@example.com"]
    assert all(mail.encrypted for mail in bench.relay.mails)

    async def both_are_recorded() -> bool:
        return len(await bench.events()) == 2

    await until(both_are_recorded, "two outcomes")
    events = await bench.events()
    assert {event.outcome for event in events} == {Outcome.ACCEPTED}
    assert mail_id in {event.id for event in events}
    assert "123456" not in bench.log()
    assert "example.com" not in bench.log()


async def test_garbage_is_found_unchanged_in_the_dlq_while_others_flow(bench: Bench) -> None:
    await bench.start_ready()
    garbage = [
        b"{not json",
        b'{"code":"1"}',
        b'{"email":"a@example.com\\r\\nRCPT TO:<b@example.com>","code":"1"}',
        b'{"email":"a@example.com","code":"1","x":"' + b"x" * 2_000_000 + b'"}',
        b"",
        None,
    ]
    for number, value in enumerate(garbage):
        await bench.broker.publish(
            bench.topic,
            key=f"k{number}".encode(),
            value=value,
            headers=[("mine", b"\xff\x00"), ("mt-attempt", b"2")],
            partition=0,
        )
    await bench.broker.publish(
        bench.topic,
        key=b"h",
        value=b'{"email":"h@example.com","code":"1"}',
        headers=[("mt-attempt", b"many")],
        partition=0,
    )
    await bench.broker.publish(
        bench.topic, key=b"good", value=b'{"email":"good@example.com","code":"1"}', partition=0
    )
    await bench.delivered(["good@example.com"])

    async def all_are_dead() -> bool:
        return len(await bench.records(f"{bench.topic}.dlq")) == len(garbage) + 1

    await until(all_are_dead, "everything is in the DLQ", timeout_s=60)
    dead = {record.key: record for record in await bench.records(f"{bench.topic}.dlq")}
    for number, value in enumerate(garbage):
        record = dead[f"k{number}".encode()]
        headers = decode_headers(record.headers)
        assert record.value == value
        assert record.partition == 0
        assert ("mine", b"\xff\x00") in headers.others
        assert headers.origin is not None
        assert (headers.origin.topic, headers.origin.offset) == (bench.topic, number)
        assert headers.error is not None
        assert headers.error.error_class == "poison"
    assert 'reason="bad-header"' in await bench.probe("metrics")
    assert bench.deliveries() == {"good@example.com": 1}


async def test_a_greylisted_mail_is_delivered_later_and_nobody_waits_for_it(bench: Bench) -> None:
    bench.settings["MAILTOPIC_DELIVERY__RETRY_TIERS"] = "2s,4s"
    bench.relay.fault(
        Fault("rcpt", reply="451 4.7.1 Greylisted", recipient="grey@example.com", times=2)
    )
    await bench.start_ready()
    await bench.mails.send_code("111111", "grey@example.com")
    await bench.mails.send_code("222222", "other@example.com")
    await bench.delivered(["grey@example.com", "other@example.com"])
    order = [mail.recipients[0] for mail in bench.relay.mails]
    assert order == ["other@example.com", "grey@example.com"]

    async def all_recorded() -> bool:
        return len(await bench.events()) == 4

    await until(all_recorded, "four outcomes")
    events = await bench.events()
    grey = [event for event in events if event.attempt > 1 or not event.outcome.final]
    assert [(e.attempt, e.outcome) for e in sorted(grey, key=lambda e: e.attempt)] == [
        (1, Outcome.DEFERRED),
        (2, Outcome.DEFERRED),
        (3, Outcome.ACCEPTED),
    ]


async def test_an_expired_mail_is_recorded_and_never_sent(bench: Bench) -> None:
    now_ms = time.time_ns() // 1_000_000
    late = new_record(
        email="late@example.com",
        variables={"code": "1"},
        purpose="signup",
        locale="ru",
        accepted_at_ms=now_ms - 10_000,
        expires_at_ms=now_ms - 1,
        seal=bench.seal,
    )
    await bench.start_ready()
    await bench.mails.publish(late)

    async def is_recorded() -> bool:
        return [e.outcome for e in await bench.events()] == [Outcome.EXPIRED]

    await until(is_recorded, "the mail is recorded as expired")
    assert not [line for _, line in bench.relay.commands if line.upper().startswith("MAIL")]


async def test_the_original_variables_alone_start_it(bench: Bench) -> None:
    bench.relay.users = {"noreply@mailtopic.test": "secret-password"}
    env = {
        "PATH": "/usr/bin:/bin",
        "SSL_CERT_FILE": str(bench.directory / "ca.pem"),
        "KAFKA_BROKERS": bench.servers,
        "KAFKA_TOPIC": bench.topic,
        "MAIL_HOST": "127.0.0.1",
        "MAIL_PORT": str(bench.relay.port),
        "MAIL_USER": "noreply@mailtopic.test",
        "MAIL_PASS": "secret-password",
        "MAIL_FROM_NAME": "Служба",
        "MAILTOPIC_METRICS__PORT": "0",
    }
    bench.start(env=env)
    await until(lambda: "topic.created" in bench.log(), "the topics are made")

    async def is_published() -> bool:
        value = b'{"email":"drop@example.com","code":"1234"}'
        return (await bench.broker.publish(bench.topic, key=None, value=value)).offset >= 0

    await until(is_published, "the record is published")
    await bench.delivered(["drop@example.com"])
    (mail,) = bench.relay.mails
    assert mail.login == "noreply@mailtopic.test"
    assert mail.message()["From"] == "Служба <noreply@mailtopic.test>"
    assert "secret-password" not in bench.log()


async def test_it_stops_on_sigterm_with_everything_committed(bench: Bench) -> None:
    sender = await bench.start_ready()
    for number in range(20):
        await bench.mails.send_code("1", f"u{number}@example.com")
    await bench.delivered([f"u{number}@example.com" for number in range(20)])
    assert await sender.end(grace_s=30) == 0
    assert "sender.stopped" in bench.log()
    await bench.start_ready()
    await bench.mails.send_code("1", "after@example.com")
    await bench.delivered(["after@example.com"])
    assert set(bench.deliveries().values()) == {1}


async def test_no_level_of_the_log_shows_an_address_or_a_code(bench: Bench) -> None:
    bench.settings["MAILTOPIC_LOG__LEVEL"] = "debug"
    await bench.start_ready()
    value = b'{"email":"seen@example.com","code":"918273"}'
    await bench.broker.publish(bench.topic, key=None, value=value)
    await bench.delivered(["seen@example.com"])
    await until(lambda: "mail.accepted" in bench.log(), "the mail has its line")
    assert "918273" not in bench.log()
    assert "seen@example.com" not in bench.log()
